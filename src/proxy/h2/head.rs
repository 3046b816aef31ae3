//! Heads between the `h2` crate and the form that all heads have here.

use ::h2::ext::Protocol;
use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    request::Parts,
    uri::{self, Authority, PathAndQuery, Scheme},
};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::http::{
    Asked, Malformed, Refusal, RequestView, ResponseEdits, ResponseView,
    relay::{Pseudo, request_fields, write_relayed_request, write_relayed_response},
    response_fields,
};

/// Appends a client's head. `nonce` is for a WebSocket, `ends` whether no body follows.
pub(crate) fn write_request(parts: &Parts, nonce: &[u8], ends: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let pseudo = Pseudo {
        method: parts.method.as_str().as_bytes(),
        path: parts.uri.path_and_query().map_or(&b""[..], |path| path.as_str().as_bytes()),
        authority: parts.uri.authority().map(|authority| authority.as_str().as_bytes()),
        tunnel: parts.extensions.get::<Protocol>().map(|protocol| (protocol.as_str().as_bytes(), nonce)),
    };
    write_relayed_request(pseudo, || pairs(&parts.headers), ends, out)
}

/// Appends an endpoint's head. `ends` is whether no body follows, `head_only` whether the request was `HEAD`.
pub(crate) fn write_response<B>(
    response: &Response<B>,
    ends: bool,
    head_only: bool,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    write_relayed_response(response.status().as_u16(), pairs(response.headers()), ends, head_only, out)
}

/// The head of an answer, for a client. One that switches protocols opens the stream as a tunnel.
pub(crate) fn response(head: ResponseView<'_>, asked: Asked, edits: &ResponseEdits<'_>) -> Response<()> {
    let mut response = Response::new(());
    let status = if head.switches() { StatusCode::OK } else { status_of(head.status()) };
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.reserve(16);
    response_fields(head, asked, edits, |name, value| append(fields, name, value));
    if head.switches() {
        fields.remove(header::SEC_WEBSOCKET_ACCEPT);
        fields.remove(header::CONTENT_LENGTH);
    }
    response
}

/// The head of a request, for an endpoint.
///
/// # Errors
///
/// Where frames cannot say what the client did: it named no host, or its target is longer than 64 KiB.
pub(crate) fn request(head: RequestView<'_>, is_tls: bool) -> Result<Request<()>, Refusal> {
    if head.authority().is_empty() {
        return Err(Refusal::BadRequest(Malformed::NoHost));
    }
    let mut parts = uri::Parts::default();
    parts.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    let authority = Authority::try_from(head.authority());
    parts.authority = Some(authority.map_err(|_| Refusal::BadRequest(Malformed::Host))?);
    parts.path_and_query = Some(target(head.target())?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method()).map_err(|_| Refusal::BadRequest(Malformed::Method))?;
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Refusal::UriTooLong)?;
    let fields = request.headers_mut();
    fields.reserve(24);
    request_fields(head, |name, value| append(fields, name, value));
    // What gRPC asks of every proxy; we take trailers from any endpoint.
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    Ok(request)
}

/// A target. Bytes that no URI has (RFC 3986, 2) are percent-encoded, which says the same: HTTP/1 lets them pass.
fn target(target: &[u8]) -> Result<PathAndQuery, Refusal> {
    const NO_URI: &AsciiSet =
        &CONTROLS.add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');
    PathAndQuery::try_from(target).or_else(|_| {
        let encoded = percent_encode(target, NO_URI).to_string();
        PathAndQuery::try_from(encoded).map_err(|_| Refusal::UriTooLong)
    })
}

fn pairs(fields: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// Appends a field, which was validated when the head was read.
fn append(fields: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        fields.append(name, value);
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}
