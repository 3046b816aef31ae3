//! A line of the log.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use smallvec::SmallVec;

use super::{Entry, RequestLine, Try, basic, clock::Clock, escape};

/// Appends the line that ingress-nginx's default `log-format-upstream` makes:
///
/// ```text
/// $remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"
/// $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr
/// $upstream_response_length $upstream_response_time $upstream_status $req_id
/// ```
pub(super) fn nginx(out: &mut Vec<u8>, clock: &mut Clock, entry: &Entry<'_>) {
    address(out, entry.client);
    out.extend_from_slice(b" - ");
    match entry.authorization.and_then(basic::user) {
        Some(user) => user.for_each(|byte| escape::nginx(out, &[byte])),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" [");
    out.extend_from_slice(clock.local(entry.now));
    out.extend_from_slice(b"] \"");
    match entry.request {
        RequestLine::Read { method, target, protocol } => {
            escape::nginx(out, method);
            out.push(b' ');
            escape::nginx(out, target);
            out.push(b' ');
            escape::nginx(out, protocol.as_bytes());
        }
        RequestLine::Raw(bytes) => escape::nginx(out, bytes),
    }
    out.extend_from_slice(b"\" ");
    number(out, entry.status.into());
    out.push(b' ');
    number(out, entry.body_bytes);
    for field in [entry.referer, entry.user_agent] {
        out.extend_from_slice(b" \"");
        escape::nginx(out, field.unwrap_or(b"-"));
        out.push(b'"');
    }
    out.push(b' ');
    number(out, entry.request_bytes);
    out.push(b' ');
    millis(out, entry.request_time);
    for name in [entry.upstream, entry.canary] {
        out.extend_from_slice(b" [");
        escape::nginx(out, name.as_bytes());
        out.push(b']');
    }
    list(out, entry.tries, |out, each| endpoint(out, each.endpoint));
    list(out, entry.tries, |out, endpoint| number(out, endpoint.body_bytes));
    list(out, entry.tries, |out, endpoint| match endpoint.response_time {
        Some(time) => millis(out, time),
        None => out.push(b'-'),
    });
    list(out, entry.tries, |out, endpoint| match endpoint.status {
        Some(status) => number(out, status.into()),
        None => out.push(b'-'),
    });
    out.push(b' ');
    escape::nginx(out, if entry.request_id.is_empty() { b"-" } else { entry.request_id });
    out.push(b'\n');
}

/// Appends a JSON object: facts of nginx under its names for them, then ours.
pub(super) fn json(out: &mut Vec<u8>, clock: &mut Clock, entry: &Entry<'_>) {
    let (second, milli) = clock.iso(entry.now);
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(second);
    out.push(b'.');
    digits::<3>(out, milli);
    out.extend_from_slice(b"Z\"");
    out.extend_from_slice(b",\"remote_addr\":\"");
    address(out, entry.client);
    out.push(b'"');
    if let Some(user) = entry.authorization.and_then(basic::user) {
        text(out, "remote_user", &user.collect::<SmallVec<[u8; 64]>>());
    }
    match entry.request {
        RequestLine::Read { method, target, protocol } => {
            text(out, "request_method", method);
            text(out, "request_uri", target);
            text(out, "server_protocol", protocol.as_bytes());
        }
        RequestLine::Raw(bytes) => text(out, "request", bytes),
    }
    text(out, "host", entry.host);
    member(out, "status", |out| number(out, entry.status.into()));
    member(out, "body_bytes_sent", |out| number(out, entry.body_bytes));
    member(out, "bytes_sent", |out| number(out, entry.sent_bytes));
    optional(out, "http_referer", entry.referer);
    optional(out, "http_user_agent", entry.user_agent);
    member(out, "request_length", |out| number(out, entry.request_bytes));
    member(out, "request_time", |out| micros(out, entry.request_time));
    text(out, "proxy_upstream_name", entry.upstream.as_bytes());
    text(out, "proxy_alternative_upstream_name", entry.canary.as_bytes());
    member(out, "upstream", |out| tries(out, entry.tries));
    text(out, "req_id", entry.request_id);
    if let Some(route) = entry.route {
        text(out, "namespace", route.ingress.namespace.as_bytes());
        text(out, "ingress", route.ingress.name.as_bytes());
        text(out, "service", entry.service.as_bytes());
        text(out, "route_host", route.host.as_str().as_bytes());
        text(out, "route_path", route.path.as_bytes());
        member(out, "route_path_type", |out| {
            out.push(b'"');
            display(out, route.path_type);
            out.push(b'"');
        });
    }
    member(out, "table", |out| number(out, entry.table));
    optional(out, "refusal", entry.refusal.map(str::as_bytes));
    optional(out, "trace_id", entry.trace_id);
    out.extend_from_slice(b"}\n");
}

/// Appends the endpoints that were asked, as a JSON array.
fn tries(out: &mut Vec<u8>, tries: &[Try]) {
    out.push(b'[');
    for (at, Try { endpoint, status, body_bytes, connect_time, header_time, response_time }) in tries.iter().enumerate()
    {
        out.extend_from_slice(if at == 0 { b"{\"addr\":\"" } else { b",{\"addr\":\"" });
        self::endpoint(out, *endpoint);
        out.push(b'"');
        if let Some(status) = status {
            member(out, "status", |out| number(out, (*status).into()));
        }
        member(out, "response_length", |out| number(out, *body_bytes));
        for (name, time) in
            [("connect_time", connect_time), ("header_time", header_time), ("response_time", response_time)]
        {
            if let Some(time) = time {
                member(out, name, |out| micros(out, *time));
            }
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends a value for each try, as nginx joins them; `-` where there was none.
fn list(out: &mut Vec<u8>, tries: &[Try], mut value: impl FnMut(&mut Vec<u8>, &Try)) {
    out.push(b' ');
    if tries.is_empty() {
        out.push(b'-');
    }
    for (at, each) in tries.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        value(out, each);
    }
}

/// Appends a member of a JSON object that is not the first.
fn member(out: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    value(out);
}

fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    member(out, name, |out| {
        out.push(b'"');
        escape::json(out, value);
        out.push(b'"');
    });
}

/// Appends a member where there is a value.
fn optional(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    if let Some(value) = value {
        text(out, name, value);
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends seconds with three digits after the point, cut off as nginx does.
fn millis(out: &mut Vec<u8>, time: Duration) {
    number(out, time.as_secs());
    out.push(b'.');
    digits::<3>(out, time.subsec_millis());
}

/// Appends seconds with six digits after the point.
fn micros(out: &mut Vec<u8>, time: Duration) {
    number(out, time.as_secs());
    out.push(b'.');
    digits::<6>(out, time.subsec_micros());
}

/// Appends the last `N` decimal digits.
fn digits<const N: usize>(out: &mut Vec<u8>, mut value: u32) {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit += u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
    out.extend_from_slice(&text);
}

/// Appends an address. The formatter of the standard library would take most of the time of a line.
fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                number(out, octet.into());
            }
        }
        IpAddr::V6(address) => display(out, address),
    }
}

/// Appends an address and its port.
fn endpoint(out: &mut Vec<u8>, endpoint: SocketAddr) {
    if endpoint.is_ipv6() {
        return display(out, endpoint);
    }
    address(out, endpoint.ip());
    out.push(b':');
    number(out, endpoint.port().into());
}

/// Appends what shows itself. Writing to a vector cannot fail.
fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}
