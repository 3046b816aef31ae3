//! What a request head says, by name.

use std::time::Duration;

use super::{
    super::{Accepts, Class, Framing, field::Span, grpc},
    Asked, RequestView, Version,
};

// === impl RequestView ===

impl<'a> RequestView<'a> {
    #[must_use]
    pub fn method(self) -> &'a [u8] {
        self.head.method.of(self.bytes)
    }

    /// Path and query as received, in origin form: an absolute form's scheme and host are cut off. `*` for `OPTIONS *`.
    #[must_use]
    pub fn target(self) -> &'a [u8] {
        let target = self.head.target.of(self.bytes);
        if target.is_empty() { b"/" } else { target }
    }

    /// The path as received.
    #[must_use]
    pub fn path(self) -> &'a [u8] {
        let path = Span { start: self.head.target.start, end: self.head.query.start }.of(self.bytes);
        if path.is_empty() { b"/" } else { path }
    }

    /// What follows the `?`, where there is one.
    #[must_use]
    pub fn query(self) -> Option<&'a [u8]> {
        self.head.query.of(self.bytes).get(1..)
    }

    /// Host and port that the request is for, as received; empty where HTTP/1.0 names none.
    #[must_use]
    pub fn authority(self) -> &'a [u8] {
        self.head.authority.of(self.bytes)
    }

    #[must_use]
    pub fn version(self) -> Version {
        self.head.asked.version
    }

    /// How the body is framed.
    #[must_use]
    pub fn framing(self) -> Framing {
        self.head.framing
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    #[must_use]
    pub fn expects_continue(self) -> bool {
        self.head.expects_continue
    }

    /// The protocols that the client offers to switch to. HTTP/2 is not among them: the offer of it is ignored.
    #[must_use]
    pub fn upgrade(self) -> Option<&'a [u8]> {
        self.head.upgrade.map(|protocol| protocol.of(self.bytes))
    }

    /// What has to be known of the request when its head is gone.
    #[must_use]
    pub fn asked(self) -> Asked {
        self.head.asked
    }

    /// The request line, for logs: method, target and version as received.
    #[must_use]
    pub fn request_line(self) -> &'a [u8] {
        // The version follows the target after one space, and has eight bytes.
        Span { start: self.head.method.start, end: self.head.query.end + 9 }.of(self.bytes)
    }

    /// Names and values of the fields, in their order. Values are trimmed.
    pub fn fields(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.head.fields.iter().map(move |field| (field.name.of(self.bytes), field.value.of(self.bytes)))
    }

    /// The value of the first field of a class.
    #[must_use]
    pub fn first(self, class: Class) -> Option<&'a [u8]> {
        let field = self.head.fields.iter().find(|field| field.class == class)?;
        Some(field.value.of(self.bytes))
    }

    /// The value of the first field of a name, in any case.
    #[must_use]
    pub fn field(self, name: &[u8]) -> Option<&'a [u8]> {
        self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// How long the call may take, where the request is one of gRPC and says so.
    #[must_use]
    pub fn grpc_timeout(self) -> Option<Duration> {
        if self.head.asked.accepts != Accepts::Grpc {
            return None;
        }
        self.field(b"grpc-timeout").and_then(grpc::timeout)
    }

    /// The request id that the client sent, where it can be used: at most 128 visible characters.
    #[must_use]
    pub fn request_id(self) -> Option<&'a [u8]> {
        self.first(Class::RequestId).filter(|id| (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic))
    }

    /// The trace context that the client sent, where it is valid. The bytes from 3 to 35 are the id of the trace.
    #[must_use]
    pub fn traceparent(self) -> Option<&'a [u8]> {
        self.first(Class::Traceparent).filter(|value| is_traceparent(value))
    }
}

/// Whether `value` is a trace context (W3C Trace Context, 3.2). Of a version that is not known yet, only what it has in
/// common with version 00 is looked at, and more may follow (4.3).
fn is_traceparent(value: &[u8]) -> bool {
    let Some((known, more)) = value.split_at_checked(55) else { return false };
    let (version, trace, span, flags) = (&known[..2], &known[3..35], &known[36..52], &known[53..]);
    let hex = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let set = |bytes: &[u8]| bytes.iter().any(|byte| *byte != b'0');
    [known[2], known[35], known[52]] == *b"---"
        && [version, trace, span, flags].into_iter().all(hex)
        && (set(trace) && set(span))
        && version != b"ff"
        && (more.is_empty() || version != b"00" && more[0] == b'-')
}
