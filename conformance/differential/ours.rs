//! Our own reading of a connection, by the readers that the proxy uses. Like it, we refuse a path that has no normal form.

use super::seen::{End, Reading, Seen};
use serin::http::{Body, Coding, Framing, Limits, Malformed, Refusal, Request, Step, path};

/// Reads what a connection carries.
pub(crate) fn read(mut bytes: &[u8]) -> Reading {
    let mut head = Request::new();
    let mut requests = Vec::new();
    let end = loop {
        if bytes.is_empty() {
            break End::Open;
        }
        let length = match head.read(bytes, &Limits::REQUEST) {
            Ok(Some(length)) => length,
            Ok(None) => break End::Partial,
            Err(refusal) => break refused(refusal),
        };
        let view = head.view(bytes);
        if view.target() != b"*" && path::normalize(view.path(), &mut Vec::new()).is_err() {
            break refused(Refusal::BadRequest(Malformed::Path));
        }
        let (framing, coding) = match view.framing() {
            Framing::Chunked => ("chunked", Coding::Decode),
            Framing::Length(_) => ("length", Coding::Pass),
            _ => ("none", Coding::Pass),
        };
        let mut body = Body::new(view.framing(), coding);
        let mut payload = Vec::new();
        let (asked, mut rest) = (view.asked(), &bytes[length..]);
        let broken = loop {
            if body.is_done() {
                break None;
            }
            if rest.is_empty() {
                break Some(End::Partial);
            }
            match body.feed(rest) {
                Ok(Step { skip, pass }) => {
                    payload.extend_from_slice(&rest[skip..skip + pass]);
                    rest = &rest[skip + pass..];
                }
                Err(bad) => break Some(refused(bad.into())),
            }
        };
        if let Some(end) = broken {
            break end;
        }
        requests.push(Seen::new(view.method(), view.target(), framing, payload));
        if !asked.keep_alive {
            break End::Closed;
        }
        bytes = rest;
    };
    Reading { requests, end }
}

fn refused(refusal: Refusal) -> End {
    End::Refused(format!("{} {refusal}", refusal.status()))
}
