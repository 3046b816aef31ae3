//! What makes a weighted choice stick to a client.
//!
//! The client's key and the Ingress of the route are hashed to a bucket, a number of 64 bits that stands for a point of
//! the line from 0 to 1. The shares of the canaries lie on that line from 0 on, in their order, and the bucket falls into one of them
//! or, beyond, to the stable side. So whoever has a canary at 5 % has it at 50 %, and with several, a client leaves a
//! canary only when its own weight or an earlier one's changes.
//!
//! The bucket depends on nothing else: it is the same on every replica, after a restart, and in another version; and on
//! all paths, hosts and aliases of the Ingress, so that a page of one version has its own version to ask. It is
//! SipHash-1-3 with [`KEYS`] over `<namespace>/<name>|<key>`, of the stable Ingress.

use std::{borrow::Cow, fmt::Write as _, hash::Hasher};

use siphasher::sip::SipHasher13;

use super::{Request, Scheme, Sticky, fields, variables};
use crate::{draw::Draw, key::ObjectKey};

/// The keys of the hash. A change would move every client.
const KEYS: (u64, u64) = (0x7365_7269_6e2d_6361, 0x6e61_7279_2d76_3031);
/// The cookie that Serin sets where the application has none to offer.
pub(super) const OWN_COOKIE: &str = "SERIN_CANARY";

// === impl Sticky ===

impl Sticky {
    /// The bucket of a client for the routes of an Ingress; none where the request has no key.
    pub(super) fn bucket(&self, ingress: &ObjectKey, request: &impl Request) -> Option<u64> {
        let key: Cow<'_, [u8]> = match self {
            Self::OwnCookie => fields::cookie(request, OWN_COOKIE)?.into(),
            Self::Cookie(name) => fields::cookie(request, name)?.into(),
            Self::Header(name) => fields::header(request, name)?,
            Self::Query(name) => fields::parameter(fields::split_target(request.target()).1?, name)?,
            Self::ClientIp => {
                let mut bucket = None;
                variables::with_address(request, &mut |address| bucket = Some(bucket_of(ingress, address)));
                return bucket;
            }
        };
        // An empty value would put all who have it together.
        (!key.is_empty()).then(|| bucket_of(ingress, &key))
    }
}

/// The bucket of a key.
fn bucket_of(ingress: &ObjectKey, key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEYS.0, KEYS.1);
    for part in [&*ingress.namespace, "/", &*ingress.name, "|"] {
        hasher.write(part.as_bytes());
    }
    hasher.write(key);
    hasher.finish()
}

/// The bucket for a second lot. It is another number, since those who lost the first have only its higher buckets.
pub(super) fn second_point(bucket: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEYS.0, KEYS.1);
    hasher.write(&bucket.to_be_bytes());
    hasher.finish()
}

/// A new cookie of our own: its value's bucket, and the field for the answer. It is for the whole host: with a path of its
/// own, a client would have another key on each.
pub(super) fn new_cookie(ingress: &ObjectKey, request: &impl Request, draw: &mut impl Draw) -> (u64, Vec<u8>) {
    let mut value = String::with_capacity(32);
    for _ in 0..4 {
        let _ = write!(value, "{:08x}", draw.below(1 << 32));
    }
    let mut field = format!("{OWN_COOKIE}={value}; Path=/").into_bytes();
    if request.scheme() == Scheme::Https {
        field.extend_from_slice(b"; Secure");
    }
    field.extend_from_slice(b"; HttpOnly; SameSite=Lax");
    (bucket_of(ingress, value.as_bytes()), field)
}

/// Writes the path of a cookie, in which a `;` would begin another attribute.
pub(super) fn write_path(path: &[u8], out: &mut Vec<u8>) {
    fields::encode(path, out, |c| c != b';');
}
