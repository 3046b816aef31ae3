//! What a parser sees in the bytes of a connection.

use std::fmt;

/// A request, as a parser sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub method: Vec<u8>,
    /// Path and query.
    pub target: Vec<u8>,
    /// How the body is framed: `none`, `length` or `chunked`.
    pub framing: String,
    pub body: Vec<u8>,
}

/// What a parser sees in the bytes of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reading {
    pub requests: Vec<Seen>,
    pub end: End,
}

/// How a parser leaves a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Ready for another request, or in the middle of one.
    Open,
    /// Closed, as the last request wants it.
    Closed,
    /// In the middle of a request. Peers do not say so.
    Partial,
    /// By a refusal.
    Refused(String),
}

// === impl Seen ===

impl Seen {
    /// A request whose target may come in absolute form.
    pub(crate) fn new(method: &[u8], target: &[u8], framing: &str, body: Vec<u8>) -> Self {
        let lower = target.to_ascii_lowercase();
        let scheme = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme.as_bytes()));
        let target = scheme.map_or(target, |scheme| {
            let rest = &target[scheme.len()..];
            let path = rest.iter().position(|byte| *byte == b'/').map_or(&b"/"[..], |at| &rest[at..]);
            if path == b"/" && method == b"OPTIONS" { b"*" } else { path }
        });
        // A length of 0 is the same as none, and not every parser tells.
        let framing = if body.is_empty() && framing == "length" { "none" } else { framing };
        Self { method: method.to_vec(), target: target.to_vec(), framing: framing.to_owned(), body }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, target, framing, body } = self;
        write!(f, "{} {} {framing}", method.escape_ascii(), target.escape_ascii())?;
        if body.is_empty() { Ok(()) } else { write!(f, " \"{}\"", body.escape_ascii()) }
    }
}

// === impl Reading ===

impl Reading {
    /// What a peer sees that is not what we see: requests are smuggled by way of it.
    pub(crate) fn differs_from(&self, theirs: &Self) -> Option<String> {
        for (at, (ours, theirs)) in self.requests.iter().zip(&theirs.requests).enumerate() {
            if ours != theirs {
                return Some(format!("request {} differs", at + 1));
            }
        }
        let (ours, seen) = (self.requests.len(), theirs.requests.len());
        match (&self.end, &theirs.end) {
            // What a peer makes of what we refuse matters to nobody: it never sees it.
            (End::Refused(_), _) if seen >= ours => None,
            (_, End::Open | End::Closed | End::Partial) if seen < ours => {
                Some(format!("{} requests are missing", ours - seen))
            }
            (End::Open | End::Closed | End::Partial, _) if seen > ours => {
                Some(format!("there are {} requests more", seen - ours))
            }
            _ => None,
        }
    }

    /// Whether the peer refuses a request that we accept.
    pub(crate) fn exceeds(&self, theirs: &Self) -> bool {
        theirs.requests.len() < self.requests.len() && matches!(theirs.end, End::Refused(_))
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for request in &self.requests {
            writeln!(f, "= {request}")?;
        }
        match &self.end {
            End::Open => Ok(()),
            End::Closed => writeln!(f, "= close"),
            End::Partial => writeln!(f, "= partial"),
            End::Refused(why) => writeln!(f, "= refused: {why}"),
        }
    }
}
