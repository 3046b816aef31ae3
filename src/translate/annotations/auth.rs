//! The annotations of who may come in. None is built yet; where leaving one out would open a path, it is closed.

use super::{Annotation, Group::Access, Kind, Risk, Scope};

pub(super) const RECORDS: &[&Annotation] = &[
    &AUTH_TYPE,
    &AUTH_SECRET,
    &AUTH_SECRET_TYPE,
    &AUTH_REALM,
    &AUTH_URL,
    &AUTH_METHOD,
    &AUTH_SIGNIN,
    &AUTH_SIGNIN_REDIRECT_PARAM,
    &AUTH_RESPONSE_HEADERS,
    &AUTH_PROXY_SET_HEADERS,
    &AUTH_REQUEST_REDIRECT,
    &AUTH_CACHE_KEY,
    &AUTH_CACHE_DURATION,
    &AUTH_ALWAYS_SET_COOKIE,
    &AUTH_KEEPALIVE,
    &AUTH_KEEPALIVE_REQUESTS,
    &AUTH_KEEPALIVE_TIMEOUT,
    &AUTH_KEEPALIVE_SHARE_VARS,
    &ENABLE_GLOBAL_AUTH,
    &SATISFY,
    &AUTH_TLS_SECRET,
    &AUTH_TLS_VERIFY_CLIENT,
    &AUTH_TLS_VERIFY_DEPTH,
    &AUTH_TLS_ERROR_PAGE,
    &AUTH_TLS_PASS_CERTIFICATE,
    &AUTH_TLS_MATCH_CN,
    &ALLOWLIST,
    &DENYLIST,
];

const NO_AUTH: &str = "There is no authentication yet that it could apply to";
const NO_CLIENT_CERTIFICATES: &str = "Clients are not asked for certificates yet";

static AUTH_TYPE: Annotation = Annotation::new("auth-type", Access, Kind::Choice(&["basic", "digest"]))
    .closed()
    .doc("Asks clients for a name and a password.");

static AUTH_SECRET: Annotation = Annotation::new("auth-secret", Access, Kind::Object)
    .risk(Risk::Medium)
    .not_yet(NO_AUTH)
    .doc("The Secret with names and passwords.");

static AUTH_SECRET_TYPE: Annotation =
    Annotation::new("auth-secret-type", Access, Kind::Choice(&["auth-file", "auth-map"]))
        .default("auth-file")
        .not_yet(NO_AUTH)
        .doc("How the Secret holds names and passwords.");

static AUTH_REALM: Annotation = Annotation::new("auth-realm", Access, Kind::Text)
    .risk(Risk::Medium)
    .not_yet(NO_AUTH)
    .doc("What clients are told that the password is for.");

static AUTH_URL: Annotation = Annotation::new("auth-url", Access, Kind::Template)
    .risk(Risk::High)
    .closed()
    .doc("A service that is asked whether a request may pass.");

static AUTH_METHOD: Annotation =
    Annotation::new("auth-method", Access, Kind::Text).not_yet(NO_AUTH).doc("The method that the service is asked by.");

static AUTH_SIGNIN: Annotation = Annotation::new("auth-signin", Access, Kind::Template)
    .risk(Risk::High)
    .not_yet(NO_AUTH)
    .doc("Where clients are redirected to that may not pass.");

static AUTH_SIGNIN_REDIRECT_PARAM: Annotation = Annotation::new("auth-signin-redirect-param", Access, Kind::Text)
    .default("rd")
    .risk(Risk::Medium)
    .not_yet(NO_AUTH)
    .doc("The parameter of that redirect that says where the client came from.");

static AUTH_RESPONSE_HEADERS: Annotation = Annotation::new("auth-response-headers", Access, Kind::List)
    .risk(Risk::Medium)
    .not_yet(NO_AUTH)
    .doc("The headers of the service's answer that endpoints see.");

static AUTH_PROXY_SET_HEADERS: Annotation = Annotation::new("auth-proxy-set-headers", Access, Kind::Object)
    .risk(Risk::Medium)
    .not_yet(NO_AUTH)
    .doc("A ConfigMap of headers that the service sees.");

static AUTH_REQUEST_REDIRECT: Annotation = Annotation::new("auth-request-redirect", Access, Kind::Template)
    .risk(Risk::Medium)
    .not_yet(NO_AUTH)
    .doc("The `X-Auth-Request-Redirect` that the service sees.");

static AUTH_CACHE_KEY: Annotation = Annotation::new("auth-cache-key", Access, Kind::Template)
    .risk(Risk::Medium)
    .not_yet(NO_AUTH)
    .doc("What an answer of the service is kept under.");

static AUTH_CACHE_DURATION: Annotation = Annotation::new("auth-cache-duration", Access, Kind::Text)
    .risk(Risk::Medium)
    .not_yet(NO_AUTH)
    .doc("How long an answer of the service is kept, by status.");

static AUTH_ALWAYS_SET_COOKIE: Annotation = Annotation::new("auth-always-set-cookie", Access, Kind::Bool)
    .default("false")
    .not_yet(NO_AUTH)
    .doc("Passes cookies of the service on whatever the endpoint answers.");

static AUTH_KEEPALIVE: Annotation = Annotation::new("auth-keepalive", Access, Kind::Number)
    .default("0")
    .not_yet(NO_AUTH)
    .doc("How many connections to the service are kept.");

static AUTH_KEEPALIVE_REQUESTS: Annotation = Annotation::new("auth-keepalive-requests", Access, Kind::Number)
    .default("1000")
    .not_yet(NO_AUTH)
    .doc("How many requests a connection to the service serves.");

static AUTH_KEEPALIVE_TIMEOUT: Annotation = Annotation::new("auth-keepalive-timeout", Access, Kind::Seconds)
    .default("60")
    .not_yet(NO_AUTH)
    .doc("How long an idle connection to the service is kept.");

static AUTH_KEEPALIVE_SHARE_VARS: Annotation = Annotation::new("auth-keepalive-share-vars", Access, Kind::Bool)
    .default("false")
    .not_yet(NO_AUTH)
    .doc("Shares nginx's variables with the request to the service.");

static ENABLE_GLOBAL_AUTH: Annotation = Annotation::new("enable-global-auth", Access, Kind::Bool)
    .default("true")
    .not_yet("There is no authentication for all paths yet")
    .doc("Whether the authentication for all paths applies.");

static SATISFY: Annotation = Annotation::new("satisfy", Access, Kind::Choice(&["all", "any"]))
    .default("all")
    .not_yet(NO_AUTH)
    .doc("Whether all checks must pass, or any.");

static AUTH_TLS_SECRET: Annotation = Annotation::new("auth-tls-secret", Access, Kind::Object)
    .on(Scope::Host)
    .risk(Risk::Medium)
    .closed()
    .doc("The Secret with the authorities whose client certificates are asked for.");

static AUTH_TLS_VERIFY_CLIENT: Annotation =
    Annotation::new("auth-tls-verify-client", Access, Kind::Choice(&["on", "off", "optional", "optional_no_ca"]))
        .on(Scope::Host)
        .default("on")
        .risk(Risk::Medium)
        .not_yet(NO_CLIENT_CERTIFICATES)
        .doc("Whether clients must have a certificate.");

static AUTH_TLS_VERIFY_DEPTH: Annotation = Annotation::new("auth-tls-verify-depth", Access, Kind::Number)
    .on(Scope::Host)
    .default("1")
    .not_yet(NO_CLIENT_CERTIFICATES)
    .doc("How long the chain of a client certificate may be.");

static AUTH_TLS_ERROR_PAGE: Annotation = Annotation::new("auth-tls-error-page", Access, Kind::Text)
    .on(Scope::Host)
    .risk(Risk::High)
    .not_yet(NO_CLIENT_CERTIFICATES)
    .doc("Where clients without a certificate are redirected to.");

static AUTH_TLS_PASS_CERTIFICATE: Annotation =
    Annotation::new("auth-tls-pass-certificate-to-upstream", Access, Kind::Bool)
        .on(Scope::Host)
        .default("false")
        .not_yet(NO_CLIENT_CERTIFICATES)
        .doc("Whether endpoints see the client's certificate.");

static AUTH_TLS_MATCH_CN: Annotation = Annotation::new("auth-tls-match-cn", Access, Kind::Text)
    .on(Scope::Host)
    .risk(Risk::High)
    .not_yet(NO_CLIENT_CERTIFICATES)
    .doc("A pattern that the name in the client's certificate must have.");

static ALLOWLIST: Annotation = Annotation::new("allowlist-source-range", Access, Kind::Networks)
    .alias("whitelist-source-range")
    .risk(Risk::Medium)
    .closed()
    .doc("The networks that clients may come from; others are answered 403.");

static DENYLIST: Annotation = Annotation::new("denylist-source-range", Access, Kind::Networks)
    .risk(Risk::Medium)
    .closed()
    .doc("The networks that clients may not come from: they are answered 403.");
