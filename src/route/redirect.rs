//! Where clients are redirected to.
//!
//! What comes from the request is encoded where it could not stand in a header.

use super::{Request, Scheme, fields};
use crate::http::host;

/// The path of an app root, on the host and by the scheme of the request.
pub(super) fn to_app_root(request: &impl Request, root: &str) -> Vec<u8> {
    let mut location = Vec::new();
    if !request.authority().is_empty() {
        origin(request.scheme(), request.authority(), &mut location);
    }
    write_uri(root.as_bytes(), &mut location);
    location
}

/// The same place by https, on the host that the client knows; the port is dropped, and one trailing `/` unless it is
/// preserved. None without a host.
pub(super) fn to_https(request: &impl Request, preserve_trailing_slash: bool) -> Option<Vec<u8>> {
    let host = host::name(request.public_authority());
    if host.is_empty() {
        return None;
    }
    let mut location = Vec::new();
    origin(Scheme::Https, host, &mut location);
    let target = own_target(request);
    let target = if preserve_trailing_slash { target } else { without_slash(target) };
    write_uri(target, &mut location);
    Some(location)
}

/// The same place on the twin with or without `www.`; the port is always written, and one trailing `/` dropped.
pub(super) fn to_twin(request: &impl Request, twin: &str) -> Vec<u8> {
    let mut location = Vec::new();
    origin(request.scheme(), twin.as_bytes(), &mut location);
    location.extend_from_slice(format!(":{}", request.port()).as_bytes());
    write_uri(without_slash(own_target(request)), &mut location);
    location
}

/// The path of a route, which is the request's with a slash; the port is dropped, and the query kept.
pub(super) fn to_slash(request: &impl Request, path: &str) -> Vec<u8> {
    let mut location = Vec::new();
    let host = host::name(request.authority());
    if !host.is_empty() {
        origin(request.scheme(), &host.to_ascii_lowercase(), &mut location);
    }
    fields::encode_path(path.as_bytes(), &mut location);
    if let Some(query) = fields::split_target(request.target()).1.filter(|query| !query.is_empty()) {
        location.push(b'?');
        write_uri(query, &mut location);
    }
    location
}

/// A place that an object names.
pub(super) fn to_fixed(location: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_uri(location.as_bytes(), &mut out);
    out
}

/// The target of the request; `OPTIONS *` is about the whole host.
fn own_target(request: &impl Request) -> &[u8] {
    match request.target() {
        b"*" => b"/",
        target => target,
    }
}

fn without_slash(target: &[u8]) -> &[u8] {
    target.strip_suffix(b"/").unwrap_or(target)
}

fn origin(scheme: Scheme, authority: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(scheme.as_str().as_bytes());
    out.extend_from_slice(b"://");
    fields::encode(authority, out, |c| c.is_ascii_alphanumeric() || b"-._~:[]!$&'()*+,;=%".contains(&c));
}

/// Writes what is encoded already; only what could not stand in a header is encoded.
fn write_uri(uri: &[u8], out: &mut Vec<u8>) {
    fields::encode(uri, out, |_| true);
}
