//! The annotations of balancing and of the way to endpoints.

use super::{Annotation, Group, Kind, Risk, Scope, Typed, value};
use crate::route::{Algorithm, BackendProtocol, HashKey};

pub(super) const RECORDS: &[&Annotation] = &[
    &LOAD_BALANCE.annotation,
    &UPSTREAM_HASH_BY.annotation,
    &UPSTREAM_HASH_BY_SUBSET.annotation,
    &UPSTREAM_HASH_BY_SUBSET_SIZE.annotation,
    &SERVICE_UPSTREAM.annotation,
    &UPSTREAM_VHOST.annotation,
    &BACKEND_PROTOCOL.annotation,
    &FASTCGI_INDEX,
    &FASTCGI_PARAMS,
    &CONNECTION_PROXY_HEADER,
    &X_FORWARDED_PREFIX,
    &PROXY_HTTP_VERSION,
];

/// What `backend-protocol` can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::translate) enum WrittenProtocol {
    Spoken(BackendProtocol),
    /// FastCGI, which is not spoken here.
    Fcgi,
}

const ALGORITHMS: &[&str] =
    &["round_robin", "ewma", "least_conn", "chash", "chashsubset", "sticky_balanced", "sticky_persistent"];
const PROTOCOLS: &[&str] = &["HTTP", "HTTPS", "GRPC", "GRPCS", "AUTO_HTTP"];

pub(in crate::translate) static LOAD_BALANCE: Typed<Algorithm> = Typed::new(
    Annotation::new("load-balance", Group::Upstream, Kind::Choice(ALGORITHMS))
        .on(Scope::Backend)
        .default("round_robin")
        .doc(
            "How the next endpoint is chosen: in turn, by answer times (`ewma`), or by requests in flight \
             (`least_conn`). The others belong to `upstream-hash-by` and `affinity`, which choose them.",
        ),
    |text| {
        // What hashing and sessions need is chosen by their own annotations, as in ingress-nginx.
        use Algorithm::{Ewma, LeastConnections, RoundRobin};
        value::choice(text, ALGORITHMS).map(|at| match at {
            1 => Ewma,
            2 => LeastConnections,
            _ => RoundRobin,
        })
    },
);

pub(in crate::translate) static UPSTREAM_HASH_BY: Typed<HashKey> = Typed::new(
    Annotation::new("upstream-hash-by", Group::Upstream, Kind::Template)
        .on(Scope::Backend)
        .risk(Risk::High)
        .doc("Chooses the endpoint by a consistent hash of this text, in which variables are replaced."),
    template,
);

pub(in crate::translate) static UPSTREAM_HASH_BY_SUBSET: Typed<bool> = Typed::new(
    Annotation::new("upstream-hash-by-subset", Group::Upstream, Kind::Bool)
        .on(Scope::Backend)
        .default("false")
        .doc("Lets the hash choose some endpoints, of which each request gets one by lot."),
    value::bool,
);

pub(in crate::translate) static UPSTREAM_HASH_BY_SUBSET_SIZE: Typed<u32> = Typed::new(
    Annotation::new("upstream-hash-by-subset-size", Group::Upstream, Kind::Number)
        .on(Scope::Backend)
        .default("3")
        .doc("How many endpoints a hash chooses."),
    |text| match value::count(text)? {
        0 => Err("leaves no endpoint".to_owned()),
        size => Ok(size),
    },
);

pub(in crate::translate) static SERVICE_UPSTREAM: Typed<bool> = Typed::new(
    Annotation::new("service-upstream", Group::Upstream, Kind::Bool)
        .on(Scope::Backend)
        .default("false")
        .doc("Sends requests to the cluster IP of the Service instead of straight to its endpoints."),
    value::bool,
);

pub(in crate::translate) static UPSTREAM_VHOST: Typed<HashKey> = Typed::new(
    Annotation::new("upstream-vhost", Group::Upstream, Kind::Template)
        .doc("The Host that endpoints see, instead of the client's; variables are replaced."),
    |text| value::clean(text).and_then(|_| template(text)),
);

pub(in crate::translate) static BACKEND_PROTOCOL: Typed<WrittenProtocol> = Typed::new(
    Annotation::new("backend-protocol", Group::Upstream, Kind::Choice(PROTOCOLS))
        .partly("`FCGI` is refused, and closes the paths.")
        .doc(
            "What the endpoints speak; `AUTO_HTTP` is what the client used. Where it is not set, the `appProtocol` of \
             the Service's port says it (`http`, `https`, `grpc`, `kubernetes.io/h2c`, `kubernetes.io/ws`, \
             `kubernetes.io/wss`), which ingress-nginx does not read, and otherwise it is `HTTP`.",
        ),
    |text| {
        use BackendProtocol::{AutoHttp, Grpc, Grpcs, Http, Https};
        if text.eq_ignore_ascii_case("FCGI") {
            return Ok(WrittenProtocol::Fcgi);
        }
        let at = value::choice(text, PROTOCOLS)?;
        Ok(WrittenProtocol::Spoken([Http, Https, Grpc, Grpcs, AutoHttp][at]))
    },
);

static FASTCGI_INDEX: Annotation = Annotation::new("fastcgi-index", Group::NginxOnly, Kind::Text)
    .risk(Risk::Medium)
    .refused("Serin does not speak FastCGI", "Put an HTTP server in the pod, before the application")
    .doc("The index file of FastCGI.");

static FASTCGI_PARAMS: Annotation = Annotation::new("fastcgi-params-configmap", Group::NginxOnly, Kind::Object)
    .risk(Risk::Medium)
    .refused("Serin does not speak FastCGI", "Put an HTTP server in the pod, before the application")
    .doc("The parameters of FastCGI.");

static CONNECTION_PROXY_HEADER: Annotation =
    Annotation::new("connection-proxy-header", Group::Upstream, Kind::Choice(&["close", "keep-alive"]))
        .differs("Connections to endpoints are kept, and closed when an endpoint wants it")
        .doc("The Connection header that endpoints see.");

static X_FORWARDED_PREFIX: Annotation = Annotation::new("x-forwarded-prefix", Group::Upstream, Kind::Text)
    .risk(Risk::Medium)
    .not_yet("Endpoints get no `X-Forwarded-Prefix`")
    .doc("The `X-Forwarded-Prefix` that endpoints see where the path is rewritten.");

static PROXY_HTTP_VERSION: Annotation =
    Annotation::new("proxy-http-version", Group::Upstream, Kind::Choice(&["1.0", "1.1"]))
        .default("1.1")
        .differs("Endpoints are asked by HTTP/1.1 in any case; those that answer by HTTP/1.0 are understood")
        .doc("The version of HTTP that endpoints are asked by.");

fn template(text: &str) -> Result<HashKey, value::Fault> {
    HashKey::parse(text).map_err(|error| format!("cannot be used: {error}"))
}
