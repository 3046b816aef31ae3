//! The annotations of proxying, of errors, and of what is seen of it.

use std::time::Duration;

use super::{Annotation, Group, Kind, Risk, Scope, Typed, value};
use crate::route::RetryOn;

pub(super) const RECORDS: &[&Annotation] = &[
    &PROXY_CONNECT_TIMEOUT.annotation,
    &PROXY_SEND_TIMEOUT.annotation,
    &PROXY_READ_TIMEOUT.annotation,
    &PROXY_BODY_SIZE.annotation,
    &PROXY_NEXT_UPSTREAM.annotation,
    &PROXY_NEXT_UPSTREAM_TIMEOUT.annotation,
    &PROXY_NEXT_UPSTREAM_TRIES.annotation,
    &CLIENT_BODY_BUFFER_SIZE,
    &PROXY_BUFFERING,
    &PROXY_BUFFERS_NUMBER,
    &PROXY_BUFFER_SIZE,
    &PROXY_BUSY_BUFFERS_SIZE,
    &PROXY_MAX_TEMP_FILE_SIZE,
    &PROXY_REQUEST_BUFFERING,
    &PROXY_COOKIE_DOMAIN,
    &PROXY_COOKIE_PATH,
    &PROXY_REDIRECT_FROM,
    &PROXY_REDIRECT_TO,
];

pub(super) const ERRORS: &[&Annotation] =
    &[&DEFAULT_BACKEND.annotation, &CUSTOM_HTTP_ERRORS, &DISABLE_PROXY_INTERCEPT_ERRORS, &CUSTOM_HEADERS];

pub(super) const OBSERVING: &[&Annotation] = &[
    &ENABLE_ACCESS_LOG.annotation,
    &ENABLE_REWRITE_LOG,
    &ENABLE_OPENTELEMETRY,
    &OPENTELEMETRY_TRUST,
    &OPENTELEMETRY_NAME,
];

const FAILURES: &[&str] = &[
    "error",
    "timeout",
    "invalid_header",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
    "non_idempotent",
    "off",
];

const BODIES_FLOW: &str = "Bodies are passed on as they come, in constant memory, and never written to a disk";

pub(in crate::translate) static PROXY_CONNECT_TIMEOUT: Typed<Duration> = Typed::new(
    Annotation::new("proxy-connect-timeout", Group::Proxying, Kind::Seconds)
        .default("5")
        .doc("How long connecting to an endpoint may take."),
    value::seconds,
);

pub(in crate::translate) static PROXY_SEND_TIMEOUT: Typed<Duration> = Typed::new(
    Annotation::new("proxy-send-timeout", Group::Proxying, Kind::Seconds)
        .default("60")
        .doc("How long may pass between two writes to an endpoint."),
    value::seconds,
);

pub(in crate::translate) static PROXY_READ_TIMEOUT: Typed<Duration> = Typed::new(
    Annotation::new("proxy-read-timeout", Group::Proxying, Kind::Seconds)
        .default("60")
        .doc("How long may pass between two reads from an endpoint."),
    value::seconds,
);

pub(in crate::translate) static PROXY_BODY_SIZE: Typed<u64> = Typed::new(
    Annotation::new("proxy-body-size", Group::Proxying, Kind::Size)
        .default("1m")
        .doc("The most that a request body may have, or 413; `0` is no limit."),
    value::size,
);

pub(in crate::translate) static PROXY_NEXT_UPSTREAM: Typed<RetryOn> = Typed::new(
    Annotation::new("proxy-next-upstream", Group::Proxying, Kind::Words(FAILURES))
        .default("error timeout")
        .risk(Risk::Medium)
        .doc(
            "The failures after which another endpoint is asked; `off` for none. None is asked twice, so a Service of one \
             endpoint is not asked again. Requests that may have been seen are repeated where their method is idempotent \
             by RFC 9110, or with `non_idempotent` (in nginx: unless it is POST, LOCK or PATCH).",
        ),
    retry_on,
);

pub(in crate::translate) static PROXY_NEXT_UPSTREAM_TIMEOUT: Typed<Duration> = Typed::new(
    Annotation::new("proxy-next-upstream-timeout", Group::Proxying, Kind::Seconds)
        .default("0")
        .doc("How long after the first byte of the request another endpoint may be asked; `0` is no limit."),
    value::seconds_or_zero,
);

pub(in crate::translate) static PROXY_NEXT_UPSTREAM_TRIES: Typed<u32> = Typed::new(
    Annotation::new("proxy-next-upstream-tries", Group::Proxying, Kind::Number)
        .default("3")
        .doc("How many endpoints are asked in all; `0` is as many as there are."),
    value::count,
);

static CLIENT_BODY_BUFFER_SIZE: Annotation = Annotation::new("client-body-buffer-size", Group::Proxying, Kind::Size)
    .differs(BODIES_FLOW)
    .doc("How much of a request body nginx keeps in memory.");

static PROXY_BUFFERING: Annotation = Annotation::new("proxy-buffering", Group::Proxying, Kind::Choice(&["on", "off"]))
    .default("off")
    .not_yet(BODIES_FLOW)
    .doc("Whether answers are read ahead of a slow client.");

static PROXY_BUFFERS_NUMBER: Annotation = Annotation::new("proxy-buffers-number", Group::Proxying, Kind::Number)
    .default("4")
    .differs(BODIES_FLOW)
    .doc("How many buffers nginx has for an answer.");

static PROXY_BUFFER_SIZE: Annotation = Annotation::new("proxy-buffer-size", Group::Proxying, Kind::Size)
    .default("4k")
    .differs("The head of an answer may be as large as the limit of the gateway, whatever the Ingress says")
    .doc("The size of the buffer that the head of an answer must fit in.");

static PROXY_BUSY_BUFFERS_SIZE: Annotation = Annotation::new("proxy-busy-buffers-size", Group::Proxying, Kind::Size)
    .differs(BODIES_FLOW)
    .doc("How much of nginx's buffers may be busy.");

static PROXY_MAX_TEMP_FILE_SIZE: Annotation = Annotation::new("proxy-max-temp-file-size", Group::Proxying, Kind::Size)
    .default("1024m")
    .differs(BODIES_FLOW)
    .doc("How much of an answer nginx writes to a disk.");

static PROXY_REQUEST_BUFFERING: Annotation =
    Annotation::new("proxy-request-buffering", Group::Proxying, Kind::Choice(&["on", "off"]))
        .differs(BODIES_FLOW)
        .doc("Whether request bodies are read whole before an endpoint is asked.");

static PROXY_COOKIE_DOMAIN: Annotation = Annotation::new("proxy-cookie-domain", Group::Proxying, Kind::Text)
    .default("off")
    .risk(Risk::Medium)
    .not_yet("Cookies of endpoints are passed on as they are")
    .doc("Replaces the domain in cookies of endpoints.");

static PROXY_COOKIE_PATH: Annotation = Annotation::new("proxy-cookie-path", Group::Proxying, Kind::Text)
    .default("off")
    .risk(Risk::Medium)
    .not_yet("Cookies of endpoints are passed on as they are")
    .doc("Replaces the path in cookies of endpoints.");

static PROXY_REDIRECT_FROM: Annotation = Annotation::new("proxy-redirect-from", Group::Proxying, Kind::Text)
    .default("off")
    .risk(Risk::Medium)
    .not_yet("Redirects of endpoints are passed on as they are")
    .doc("What is replaced in redirects of endpoints.");

static PROXY_REDIRECT_TO: Annotation = Annotation::new("proxy-redirect-to", Group::Proxying, Kind::Text)
    .default("off")
    .risk(Risk::Medium)
    .not_yet("Redirects of endpoints are passed on as they are")
    .doc("What it is replaced with in redirects of endpoints.");

pub(in crate::translate) static DEFAULT_BACKEND: Typed<String> = Typed::new(
    Annotation::new("default-backend", Group::Errors, Kind::Object).doc(
        "A Service of the same namespace that serves, at its first TCP port, while the stable side has no endpoint.",
    ),
    value::service,
);

static CUSTOM_HTTP_ERRORS: Annotation = Annotation::new("custom-http-errors", Group::Errors, Kind::List)
    .not_yet("Errors of endpoints are passed on as they are")
    .doc("The statuses that the default backend answers instead of the endpoint.");

static DISABLE_PROXY_INTERCEPT_ERRORS: Annotation =
    Annotation::new("disable-proxy-intercept-errors", Group::Errors, Kind::Bool)
        .default("false")
        .not_yet("Errors of endpoints are passed on as they are, in any case")
        .doc("Passes errors of endpoints on where `custom-http-errors` would not.");

static CUSTOM_HEADERS: Annotation = Annotation::new("custom-headers", Group::Errors, Kind::Object)
    .risk(Risk::Medium)
    .not_yet("Answers get no headers of its ConfigMap")
    .doc("A ConfigMap of headers for answers.");

pub(in crate::translate) static ENABLE_ACCESS_LOG: Typed<bool> = Typed::new(
    Annotation::new("enable-access-log", Group::Observing, Kind::Bool)
        .default("true")
        .doc("Whether requests are in the access log."),
    value::bool,
);

static ENABLE_REWRITE_LOG: Annotation = Annotation::new("enable-rewrite-log", Group::NginxOnly, Kind::Bool)
    .default("false")
    .differs("There is no such log; `serin explain` prints what becomes of a request")
    .doc("Writes each rewrite to nginx's error log.");

static ENABLE_OPENTELEMETRY: Annotation = Annotation::new("enable-opentelemetry", Group::Observing, Kind::Bool)
    .on(Scope::Path)
    .not_yet("No spans are exported; a `traceparent` is passed on or made")
    .doc("Exports spans of the requests.");

static OPENTELEMETRY_TRUST: Annotation =
    Annotation::new("opentelemetry-trust-incoming-span", Group::Observing, Kind::Bool)
        .default("true")
        .not_yet("No spans are exported; a `traceparent` is passed on")
        .doc("Whether a client's span is the parent.");

static OPENTELEMETRY_NAME: Annotation =
    Annotation::new("opentelemetry-operation-name", Group::Observing, Kind::Template)
        .risk(Risk::Medium)
        .not_yet("No spans are exported")
        .doc("The name of the spans.");

/// Words between spaces. `off` stands alone, or with what it then overrules.
fn retry_on(text: &str) -> Result<RetryOn, value::Fault> {
    let mut on = RetryOn::default();
    let mut off = false;
    for word in text.split_whitespace() {
        match word {
            "error" => on.error = true,
            "timeout" => on.timeout = true,
            "invalid_header" => on.invalid_header = true,
            "http_500" => on.http_500 = true,
            "http_502" => on.http_502 = true,
            "http_503" => on.http_503 = true,
            "http_504" => on.http_504 = true,
            "http_403" => on.http_403 = true,
            "http_404" => on.http_404 = true,
            "http_429" => on.http_429 = true,
            "non_idempotent" => on.non_idempotent = true,
            "off" => off = true,
            other => return Err(format!("contains `{other}`, which is no failure that is known")),
        }
    }
    Ok(if off { RetryOn::default() } else { on })
}
