//! Answers that the gateway gives by itself: redirects, refusals.

use super::{
    Accepts, Asked, Refusal,
    write::{write_checked, write_connection, write_length, write_status_line},
};

/// An answer that the gateway gives by itself.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    /// Fields other than those for framing and `Connection`.
    pub fields: &'a [(&'a [u8], &'a [u8])],
    pub body: &'a [u8],
}

/// Appends an answer of the gateway's own, with its body unless the request is `HEAD`. `keep_alive` is whether the
/// gateway would keep the connection; returns whether it lives on.
pub fn write_answer(answer: &Answer<'_>, asked: Asked, keep_alive: bool, out: &mut Vec<u8>) -> bool {
    let keep_alive = keep_alive && asked.keep_alive;
    write_status_line(answer.status, None, out);
    for (name, value) in answer.fields {
        write_checked(name, value, out);
    }
    if let Some(hsts) = asked.hsts {
        hsts.write(out);
    }
    if answer.status != 204 && answer.status != 304 {
        write_length(answer.body.len() as u64, out);
    }
    write_connection(keep_alive, asked, out);
    out.extend_from_slice(b"\r\n");
    if !asked.head_only && answer.status != 204 && answer.status != 304 {
        out.extend_from_slice(answer.body);
    }
    keep_alive
}

/// Appends the answer to a request that cannot be served, in the form that the client asked for. `date` may be empty.
/// Returns whether the connection lives on, for which `keep_alive` is a condition.
pub fn write_refusal(
    refusal: Refusal,
    asked: Asked,
    request_id: &[u8],
    date: &[u8],
    keep_alive: bool,
    out: &mut Vec<u8>,
) -> bool {
    let (status, text) = (refusal.status(), refusal.text());
    let mut code = itoa::Buffer::new();
    let mut body = String::new();
    let mut fields: [(&[u8], &[u8]); 5] = [(b"", b""); 5];
    fields[0] = (b"X-Request-ID", request_id);
    fields[1] = (b"Date", date);
    let mut sent = status;
    match asked.accepts {
        Accepts::Text => {
            fields[2] = (b"Content-Type", b"text/plain; charset=utf-8");
            body = format!("{status} {}: {text}\n", reason(status));
        }
        Accepts::Json => {
            fields[2] = (b"Content-Type", b"application/json");
            // The id is of visible characters; those that JSON would escape are left out.
            let id: String = request_id.iter().map(|byte| *byte as char).filter(|c| is_plain_in_json(*c)).collect();
            let label = refusal.label();
            body = format!(
                "{{\"status\":{status},\"error\":\"{label}\",\"message\":\"{text}\",\"request_id\":\"{id}\"}}\n"
            );
        }
        Accepts::Grpc => {
            sent = 200;
            fields[2] = (b"Content-Type", b"application/grpc");
            fields[3] = (b"grpc-status", code.format(refusal.grpc_status()).as_bytes());
            fields[4] = (b"grpc-message", text.as_bytes());
        }
    }
    let keep_alive = keep_alive && !refusal.closes();
    write_answer(&Answer { status: sent, fields: &fields, body: body.as_bytes() }, asked, keep_alive, out)
}

/// Whether a visible character stands for itself in a JSON string.
fn is_plain_in_json(c: char) -> bool {
    c.is_ascii_graphic() && c != '"' && c != '\\'
}

/// The words for a status (RFC 9110, 15; RFC 6585); none for one without.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Malformed, Version};

    const KEPT: Asked = Asked {
        version: Version::Http11,
        head_only: false,
        keep_alive: true,
        upgrade: false,
        idempotent: true,
        safe: true,
        accepts: Accepts::Text,
        hsts: None,
    };
    const OLD: Asked = Asked { version: Version::Http10, keep_alive: false, ..KEPT };

    #[test]
    fn a_refusal_comes_in_the_form_that_was_asked_for() {
        for (accepts, expected) in [
            (
                Accepts::Text,
                "HTTP/1.1 404 Not Found\r\nX-Request-ID: a\"b\r\nDate: d\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 45\r\n\r\n404 Not Found: no route matches the request\n",
            ),
            (
                Accepts::Json,
                "HTTP/1.1 404 Not Found\r\nX-Request-ID: a\"b\r\nDate: d\r\nContent-Type: application/json\r\n\
             Content-Length: 100\r\n\r\n{\"status\":404,\"error\":\"not_found\",\
             \"message\":\"no route matches the request\",\"request_id\":\"ab\"}\n",
            ),
            (
                Accepts::Grpc,
                "HTTP/1.1 200 OK\r\nX-Request-ID: a\"b\r\nDate: d\r\nContent-Type: application/grpc\r\ngrpc-status: 12\r\n\
             grpc-message: no route matches the request\r\nContent-Length: 0\r\n\r\n",
            ),
        ] {
            let mut out = Vec::new();
            let asked = Asked { accepts, ..KEPT };
            assert!(write_refusal(Refusal::NotFound, asked, b"a\"b", b"d", true, &mut out));
            let (head, body) = expected.split_once("\r\n\r\n").expect("there is an end of the head");
            let start = head.rfind(": ").expect("there is a length") + 2;
            let expected = format!("{}{}\r\n\r\n{body}", &head[..start], body.len());
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn a_refusal_closes_where_it_must_and_has_no_body_for_head() {
        let mut out = Vec::new();
        let asked = Asked { head_only: true, ..KEPT };
        assert!(!write_refusal(Refusal::BadRequest(Malformed::Host), asked, b"", b"", true, &mut out));
        let text = String::from_utf8_lossy(&out);
        assert!(text.ends_with("\r\nConnection: close\r\n\r\n") && !text.contains("Date"), "{text}");
    }

    #[test]
    fn an_answer_of_our_own_has_the_framing_that_it_needs() {
        let fields: &[(&[u8], &[u8])] = &[(b"Location", b"https://h/"), (b"Content-Length", b"9"), (b"A", b"b\nc")];
        let mut out = Vec::new();
        assert!(write_answer(&Answer { status: 308, fields, body: b"" }, KEPT, true, &mut out));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://h/\r\nContent-Length: 0\r\n\r\n"
        );
        out.clear();
        assert!(!write_answer(&Answer { status: 204, fields: &[], body: b"" }, OLD, true, &mut out));
        assert_eq!(String::from_utf8_lossy(&out), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }
}
