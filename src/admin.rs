//! The port for those who run the gateway: health, readiness, metrics, and what is live.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process can answer at all |
//! | `/readyz` | 200, or 503 with the names of what blocks |
//! | `/metrics` | Prometheus text |
//! | `/debug/table`, `/debug/clusters`, `/debug/certificates`, `/debug/problems` | JSON of what is live; `?host=`, `?namespace=` and so on choose a part |
//! | `/debug/log-level` | the filter of the process's log; `PUT` sets another |
//!
//! It runs on the control runtime, so a big answer takes no time from requests. What it shows are [`View`]s that
//! others give it, who leave secrets out. Everything is bounded: connections, the time of each, the bytes that it
//! reads; what it writes goes out in pieces, so that a table of any size takes little memory. Only so many are shown
//! something long at once, whose readers may be slow; who asks for health or readiness never waits for them.

mod body;
mod log_level;
mod server;

use std::{fmt, io, sync::Arc};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

use self::body::Body;
pub use self::{
    log_level::{InvalidLogFilter, LogFilter, LogLevel},
    server::serve,
};
use crate::{lifecycle::Readiness, metrics::Metrics};

/// What the port shows.
#[derive(Clone, Debug)]
pub struct Admin {
    pub readiness: Readiness,
    pub metrics: Metrics,
    /// The routing table that serves.
    pub table: View,
    /// What is wrong with objects.
    pub problems: View,
    /// Certificates, and what each serves.
    pub certificates: View,
    /// Clusters, their endpoints and how these are.
    pub clusters: View,
    pub log_level: LogLevel,
    pub showings: Showings,
}

/// How many may be shown something long at once. Each occupies a thread for as long as it reads.
#[derive(Clone, Debug)]
pub struct Showings(Arc<Semaphore>);

/// Something that can be shown as JSON, or a part of it, as it is when it is asked for.
///
/// It is written where it may block, and its writer waits for the reader: it must not hold a lock meanwhile.
#[derive(Clone)]
pub struct View(Arc<Show>);

/// Writes what is asked for, as JSON.
type Show = dyn Fn(&Query, &mut dyn io::Write) -> io::Result<()> + Send + Sync;

/// The parameters of a request: which part is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query(Vec<(String, String)>);

/// How many are shown something long at once; the others are refused.
const SHOWINGS: usize = 64;

/// The most bytes of a body that is read.
const BODY_LIMIT: usize = 4 << 10;

/// What `GET /` tells.
const INDEX: &str = "\
/healthz
/readyz
/metrics
/debug/table?host=
/debug/clusters?namespace=&service=
/debug/certificates?host=
/debug/problems?namespace=&level=
/debug/log-level
";

// === impl Admin ===

impl Admin {
    /// Answers a request.
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let path = request.uri().path().to_owned();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match &*path {
            "/debug/log-level" if *request.method() == Method::PUT => self.set_log_level(request).await,
            "/debug/log-level" if !reads => refuse_method("GET, HEAD, PUT"),
            _ if !reads => refuse_method("GET, HEAD"),
            "/" => text(StatusCode::OK, INDEX),
            "/healthz" => text(StatusCode::OK, "ok"),
            "/readyz" => self.ready(),
            "/metrics" => {
                let metrics = self.metrics.clone();
                self.stream(Metrics::content_type(), move |out| metrics.write_to(out))
            }
            "/debug/table" => self.show(&self.table, query),
            "/debug/problems" => self.show(&self.problems, query),
            "/debug/certificates" => self.show(&self.certificates, query),
            "/debug/clusters" => self.show(&self.clusters, query),
            "/debug/log-level" => text(StatusCode::OK, self.log_level.current()),
            _ => text(StatusCode::NOT_FOUND, "not found"),
        }
    }

    fn ready(&self) -> Response<Body> {
        let blocked_by = self.readiness.blocked_by();
        if blocked_by.is_empty() {
            text(StatusCode::OK, "ok")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}", blocked_by.join(", ")))
        }
    }

    fn show(&self, view: &View, query: Query) -> Response<Body> {
        let view = view.clone();
        self.stream("application/json", move |out| {
            view.0(&query, out)?;
            out.write_all(b"\n")
        })
    }

    fn stream(
        &self,
        content_type: &'static str,
        write: impl FnOnce(&mut dyn io::Write) -> io::Result<()> + Send + 'static,
    ) -> Response<Body> {
        let Ok(showing) = self.showings.0.clone().try_acquire_owned() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "too many others are being shown something; ask again");
        };
        let body = Body::written_by(move |out| {
            // Held until all is written, or the client has left.
            let _showing = showing;
            write(out)
        });
        respond(StatusCode::OK, content_type, body)
    }

    async fn set_log_level(&self, request: Request<Incoming>) -> Response<Body> {
        let level = match body::read(request.into_body(), BODY_LIMIT).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large for a filter"),
            Err(_) => return text(StatusCode::BAD_REQUEST, "the body cannot be read"),
        };
        let filter: LogFilter = match String::from_utf8_lossy(&level).parse() {
            Ok(filter) => filter,
            Err(error) => return text(StatusCode::BAD_REQUEST, error.to_string()),
        };
        match self.log_level.set(&filter) {
            Ok(()) => text(StatusCode::OK, self.log_level.current()),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

// === impl Showings ===

impl Default for Showings {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SHOWINGS)))
    }
}

// === impl View ===

impl View {
    /// Shows what `write` writes, which must be JSON.
    pub fn new(write: impl Fn(&Query, &mut dyn io::Write) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// Shows what `make` makes.
    pub fn of<T: serde::Serialize>(make: impl Fn(&Query) -> T + Send + Sync + 'static) -> Self {
        Self::new(move |query, out| serde_json::to_writer(out, &make(query)).map_err(io::Error::from))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

// === impl Query ===

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The value of a parameter; the first where there are several. An empty one chooses nothing, as if it were not
    /// there.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(&**value).filter(|value| !value.is_empty())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Query {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut text = text.into();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    respond(status, "text/plain; charset=utf-8", Body::of(text))
}

fn refuse_method(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "this method does nothing here");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
