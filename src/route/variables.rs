//! Texts with variables, evaluated for a request.

use std::{
    hash::Hasher,
    io::{Cursor, Write},
};

use siphasher::sip::SipHasher13;

use super::{HashInput, HashKey, HashPart, Request, fields};
use crate::http;

// === impl HashKey ===

impl HashKey {
    /// The hash of the text for a request: the same on every replica.
    pub fn hash(&self, request: &impl Request) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        self.each(request, |part| hasher.write(part));
        hasher.finish()
    }

    /// The text for a request.
    pub fn text(&self, request: &impl Request) -> Vec<u8> {
        let mut text = Vec::new();
        self.each(request, |part| text.extend_from_slice(part));
        text
    }

    /// Calls `part` for each part of the text.
    fn each(&self, request: &impl Request, mut part: impl FnMut(&[u8])) {
        for each in self.parts.iter() {
            match each {
                HashPart::Text(text) => part(text.as_bytes()),
                HashPart::Variable(variable) => variable.with(request, &mut part),
            }
        }
    }
}

// === impl HashInput ===

impl HashInput {
    /// Calls `take` with the value for a request; it is empty where the request has none.
    pub(super) fn with(&self, request: &impl Request, take: &mut impl FnMut(&[u8])) {
        let (path, query) = fields::split_target(request.target());
        match self {
            Self::RequestUri => take(request.target()),
            Self::Uri => take(http::path::normalize(path, &mut Vec::new()).unwrap_or_default()),
            Self::Args => take(query.unwrap_or_default()),
            Self::Host => take(&http::host::name(request.authority()).to_ascii_lowercase()),
            Self::HttpHost => take(request.authority()),
            Self::RemoteAddr => with_address(request, take),
            Self::Scheme => take(request.scheme().as_str().as_bytes()),
            Self::RequestMethod => take(request.method()),
            Self::RequestId => take(request.request_id()),
            Self::Header(name) => take(&fields::header(request, name).unwrap_or_default()),
            Self::Cookie(name) => take(fields::cookie(request, name).unwrap_or_default()),
            Self::Arg(name) => take(fields::raw_parameter(query.unwrap_or_default(), name).unwrap_or_default()),
        }
    }
}

/// Calls `take` with the client's address as text.
pub(super) fn with_address(request: &impl Request, take: &mut impl FnMut(&[u8])) {
    // The longest is an IPv4 address in an IPv6 one: 45 bytes.
    let mut text = Cursor::new([0_u8; 48]);
    let written = write!(text, "{}", request.client().to_canonical()).map_or(0, |()| text.position());
    take(&text.get_ref()[..usize::try_from(written).unwrap_or_default()]);
}
