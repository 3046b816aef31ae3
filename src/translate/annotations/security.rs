//! The annotations of TLS, rate limits, CORS, mirroring, and those that only nginx can have.

use super::{Annotation, Group, Kind, Risk, Scope};

pub(super) const RECORDS: &[&Annotation] = &[
    &SSL_CIPHERS,
    &SSL_PREFER_SERVER_CIPHERS,
    &SSL_PASSTHROUGH,
    &LIMIT_RPS,
    &LIMIT_RPM,
    &LIMIT_CONNECTIONS,
    &LIMIT_BURST_MULTIPLIER,
    &LIMIT_RATE,
    &LIMIT_RATE_AFTER,
    &LIMIT_ALLOWLIST,
    &ENABLE_CORS,
    &CORS_ALLOW_ORIGIN,
    &CORS_ALLOW_METHODS,
    &CORS_ALLOW_HEADERS,
    &CORS_ALLOW_CREDENTIALS,
    &CORS_EXPOSE_HEADERS,
    &CORS_MAX_AGE,
    &MIRROR_TARGET,
    &MIRROR_HOST,
    &MIRROR_REQUEST_BODY,
    &CONFIGURATION_SNIPPET,
    &SERVER_SNIPPET,
    &STREAM_SNIPPET,
    &AUTH_SNIPPET,
    &MODSECURITY_SNIPPET,
    &ENABLE_MODSECURITY,
    &ENABLE_OWASP_CORE_RULES,
    &MODSECURITY_TRANSACTION_ID,
    &HTTP2_PUSH_PRELOAD,
];

const NO_CIPHERS: &str = "Clients are offered the suites of TLS 1.3, and those of 1.2 with forward secrecy and AEAD";
const NO_LIMITS: &str = "Requests are not limited";
const NO_CORS: &str = "Preflight requests go to the endpoints, and answers get no CORS headers";
const NO_MIRROR: &str = "Requests are not mirrored";
const SNIPPET: &str =
    "Serin is no nginx, and configuration in annotations is how clusters with ingress-nginx were taken over";
const SNIPPET_MEND: &str =
    "Find the annotation that does what it does (`serin annotations` lists them), or do it in the application";
const WAF: &str = "ModSecurity is a part of nginx";
const WAF_MEND: &str = "Put a web application firewall before the gateway or the application";

static SSL_CIPHERS: Annotation = Annotation::new("ssl-ciphers", Group::Tls, Kind::Text)
    .on(Scope::Host)
    .not_yet(NO_CIPHERS)
    .doc("The ciphers that clients may use.");

static SSL_PREFER_SERVER_CIPHERS: Annotation = Annotation::new("ssl-prefer-server-ciphers", Group::Tls, Kind::Bool)
    .on(Scope::Host)
    .not_yet("The order of the client counts")
    .doc("Whether the order of the server's ciphers counts.");

static SSL_PASSTHROUGH: Annotation = Annotation::new("ssl-passthrough", Group::Tls, Kind::Bool)
    .on(Scope::Host)
    .default("false")
    .not_yet("TLS is not passed through: plain requests are served as for any host")
    .doc("Passes TLS on to the endpoints without ending it.");

static LIMIT_RPS: Annotation = Annotation::new("limit-rps", Group::RateLimits, Kind::Number)
    .default("0")
    .not_yet(NO_LIMITS)
    .doc("How many requests a second a client may send.");

static LIMIT_RPM: Annotation = Annotation::new("limit-rpm", Group::RateLimits, Kind::Number)
    .default("0")
    .not_yet(NO_LIMITS)
    .doc("How many requests a minute a client may send.");

static LIMIT_CONNECTIONS: Annotation = Annotation::new("limit-connections", Group::RateLimits, Kind::Number)
    .default("0")
    .not_yet(NO_LIMITS)
    .doc("How many requests of a client may be in flight.");

static LIMIT_BURST_MULTIPLIER: Annotation = Annotation::new("limit-burst-multiplier", Group::RateLimits, Kind::Number)
    .default("5")
    .not_yet(NO_LIMITS)
    .doc("How many times the limit may come at once.");

static LIMIT_RATE: Annotation = Annotation::new("limit-rate", Group::RateLimits, Kind::Number)
    .default("0")
    .not_yet("Answers are not slowed down")
    .doc("How many kilobytes of an answer are sent in a second.");

static LIMIT_RATE_AFTER: Annotation = Annotation::new("limit-rate-after", Group::RateLimits, Kind::Number)
    .default("0")
    .not_yet("Answers are not slowed down")
    .doc("After how many kilobytes `limit-rate` begins.");

static LIMIT_ALLOWLIST: Annotation = Annotation::new("limit-allowlist", Group::RateLimits, Kind::Networks)
    .alias("limit-whitelist")
    .not_yet(NO_LIMITS)
    .doc("The networks whose clients are not limited.");

static ENABLE_CORS: Annotation = Annotation::new("enable-cors", Group::Cors, Kind::Bool)
    .default("false")
    .not_yet(NO_CORS)
    .doc("Answers preflight requests, and adds CORS headers.");

static CORS_ALLOW_ORIGIN: Annotation = Annotation::new("cors-allow-origin", Group::Cors, Kind::List)
    .default("*")
    .risk(Risk::Medium)
    .not_yet(NO_CORS)
    .doc("The origins that are allowed.");

static CORS_ALLOW_METHODS: Annotation = Annotation::new("cors-allow-methods", Group::Cors, Kind::List)
    .default("GET, PUT, POST, DELETE, PATCH, OPTIONS")
    .risk(Risk::Medium)
    .not_yet(NO_CORS)
    .doc("The methods that are allowed.");

static CORS_ALLOW_HEADERS: Annotation = Annotation::new("cors-allow-headers", Group::Cors, Kind::List)
    .default(
        "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization",
    )
    .risk(Risk::Medium)
    .not_yet(NO_CORS)
    .doc("The headers that are allowed.");

static CORS_ALLOW_CREDENTIALS: Annotation = Annotation::new("cors-allow-credentials", Group::Cors, Kind::Bool)
    .default("true")
    .not_yet(NO_CORS)
    .doc("Whether credentials are allowed.");

static CORS_EXPOSE_HEADERS: Annotation = Annotation::new("cors-expose-headers", Group::Cors, Kind::List)
    .risk(Risk::Medium)
    .not_yet(NO_CORS)
    .doc("The headers of answers that scripts may read.");

static CORS_MAX_AGE: Annotation = Annotation::new("cors-max-age", Group::Cors, Kind::Seconds)
    .default("1728000")
    .not_yet(NO_CORS)
    .doc("How long the answer to a preflight request is kept.");

static MIRROR_TARGET: Annotation = Annotation::new("mirror-target", Group::Mirror, Kind::Template)
    .risk(Risk::High)
    .not_yet(NO_MIRROR)
    .doc("Where a copy of each request is sent.");

static MIRROR_HOST: Annotation = Annotation::new("mirror-host", Group::Mirror, Kind::Text)
    .risk(Risk::High)
    .not_yet(NO_MIRROR)
    .doc("The Host of the copies.");

static MIRROR_REQUEST_BODY: Annotation =
    Annotation::new("mirror-request-body", Group::Mirror, Kind::Choice(&["on", "off"]))
        .default("on")
        .not_yet(NO_MIRROR)
        .doc("Whether the copies have the body.");

static CONFIGURATION_SNIPPET: Annotation = Annotation::new("configuration-snippet", Group::NginxOnly, Kind::Snippet)
    .risk(Risk::Critical)
    .refused(SNIPPET, SNIPPET_MEND)
    .doc("Configuration for the paths.");

static SERVER_SNIPPET: Annotation = Annotation::new("server-snippet", Group::NginxOnly, Kind::Snippet)
    .on(Scope::Host)
    .risk(Risk::Critical)
    .refused(SNIPPET, SNIPPET_MEND)
    .doc("Configuration for the host.");

static STREAM_SNIPPET: Annotation = Annotation::new("stream-snippet", Group::NginxOnly, Kind::Snippet)
    .risk(Risk::Critical)
    .refused(SNIPPET, SNIPPET_MEND)
    .doc("Configuration for TCP and UDP.");

static AUTH_SNIPPET: Annotation = Annotation::new("auth-snippet", Group::NginxOnly, Kind::Snippet)
    .risk(Risk::Critical)
    .refused(SNIPPET, SNIPPET_MEND)
    .doc("Configuration for the request to `auth-url`.");

static MODSECURITY_SNIPPET: Annotation = Annotation::new("modsecurity-snippet", Group::NginxOnly, Kind::Snippet)
    .risk(Risk::Critical)
    .refused(WAF, WAF_MEND)
    .doc("Rules of ModSecurity.");

static ENABLE_MODSECURITY: Annotation = Annotation::new("enable-modsecurity", Group::NginxOnly, Kind::Bool)
    .default("false")
    .refused(WAF, WAF_MEND)
    .doc("Looks at requests with ModSecurity.");

static ENABLE_OWASP_CORE_RULES: Annotation = Annotation::new("enable-owasp-core-rules", Group::NginxOnly, Kind::Bool)
    .default("false")
    .refused(WAF, WAF_MEND)
    .doc("Adds the OWASP rules to ModSecurity.");

static MODSECURITY_TRANSACTION_ID: Annotation =
    Annotation::new("modsecurity-transaction-id", Group::NginxOnly, Kind::Template)
        .risk(Risk::High)
        .refused(WAF, WAF_MEND)
        .doc("What ModSecurity calls a request.");

static HTTP2_PUSH_PRELOAD: Annotation = Annotation::new("http2-push-preload", Group::NginxOnly, Kind::Bool)
    .default("false")
    .differs("Browsers no longer take what is pushed, and nginx no longer pushes; `Link` headers are passed on")
    .doc("Pushes what `Link` headers preload.");
