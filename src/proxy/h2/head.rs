//! Heads between the `h2` crate and the form that all heads have here.

use ::h2::ext::Protocol;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request::Parts};

use crate::http::{
    Asked, Refusal, RequestView, ResponseEdits, ResponseView,
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

/// The head of a request, for an endpoint. None where the client's method or target is nothing that frames can say.
pub(crate) fn request(head: RequestView<'_>, is_tls: bool) -> Option<Request<()>> {
    let scheme = if is_tls { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(head.authority()).path_and_query(head.target()).build().ok()?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method()).ok()?;
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    fields.reserve(24);
    request_fields(head, |name, value| append(fields, name, value));
    // What gRPC asks of every proxy; we take trailers from any endpoint.
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    Some(request)
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
