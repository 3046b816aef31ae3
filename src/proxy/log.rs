//! The access log: one line for each request, written off the request's path.
//!
//! A worker formats lines into a buffer of its own ([`Log`]). Full buffers, and once a second what there is, go to one
//! thread that writes them ([`Writer`]) and gives the buffers back. A worker never waits: while all its buffers are
//! with the writer its lines are dropped, and counted. A line allocates nothing.

mod basic;
mod clock;
mod escape;
mod line;
mod writer;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::{Duration, SystemTime},
};

pub use self::writer::{Log, Writer, start};
use crate::key::RouteId;

/// How lines look (`--access-log`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// There are none.
    Off,
    /// As ingress-nginx's default `log-format-upstream` has it, to the letter.
    #[default]
    Nginx,
    /// A JSON object with the same facts under nginx's names, and ours.
    Json,
}

/// The text of a format that there is not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a format of the access log: there are `off`, `nginx` and `json`")]
pub struct InvalidFormat(String);

/// What there is to tell of a request, when its answer is complete.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The client's address, as far as it is believed.
    pub client: IpAddr,
    /// The `Authorization` header; of it only the user of the Basic scheme is shown.
    pub authorization: Option<&'a [u8]>,
    /// When the answer was complete.
    pub now: SystemTime,
    pub request: RequestLine<'a>,
    /// `Host` or `:authority`, as received.
    pub host: &'a [u8],
    pub status: u16,
    /// Bytes of the answer, without and with its head.
    pub body_bytes: u64,
    pub sent_bytes: u64,
    pub referer: Option<&'a [u8]>,
    pub user_agent: Option<&'a [u8]>,
    /// Bytes of the request: line, head and body.
    pub request_bytes: u64,
    /// From the first byte of the request to the last one of the answer.
    pub request_time: Duration,
    /// The stable side of the route, `<namespace>-<service>-<port>`, whoever served; empty where there is none.
    pub upstream: &'a str,
    /// The canary that was chosen, named in the same way; empty where none was.
    pub canary: &'a str,
    /// The endpoints that were asked, in order.
    pub tries: &'a [Try],
    pub request_id: &'a [u8],
    pub route: Option<&'a RouteId>,
    /// The Service of the stable side; empty where there is none.
    pub service: &'a str,
    /// The number of the table that decided.
    pub table: u64,
    /// The label of the refusal, where the request was refused.
    pub refusal: Option<&'a str>,
    /// The trace that the request belongs to, in hexadecimal (W3C Trace Context).
    pub trace_id: Option<&'a [u8]>,
}

/// The first line of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestLine<'a> {
    /// One that was understood. HTTP/2 has none, but the same facts.
    Read { method: &'a [u8], target: &'a [u8], protocol: &'a str },
    /// The bytes that were not understood, as far as they came.
    Raw(&'a [u8]),
}

/// An endpoint that was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Try {
    pub endpoint: SocketAddr,
    /// The status that it answered with, or the one that its failure stands for: 502, 504. None where neither is
    /// known.
    pub status: Option<u16>,
    /// Bytes of the body of its answer.
    pub body_bytes: u64,
    /// From when it was chosen until it was connected, until the head of its answer, until the end of it.
    pub connect_time: Option<Duration>,
    pub header_time: Option<Duration>,
    pub response_time: Option<Duration>,
}

// === impl Format ===

impl FromStr for Format {
    type Err = InvalidFormat;

    fn from_str(text: &str) -> Result<Self, InvalidFormat> {
        match text {
            "off" => Ok(Self::Off),
            "nginx" => Ok(Self::Nginx),
            "json" => Ok(Self::Json),
            _ => Err(InvalidFormat(text.to_owned())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Nginx => "nginx",
            Self::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests;
