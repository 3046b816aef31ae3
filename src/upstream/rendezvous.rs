//! Consistent hashing: who serves a key follows from the key and the addresses alone.
//!
//! This is rendezvous hashing (highest random weight): every endpoint gets a score for the key, and the highest has
//! it. Against a ring of points it needs no memory, spreads keys evenly without tuning, and moves exactly the keys that
//! must move: those of an endpoint that leaves, each to its second choice, and a fair share to one that joins. The
//! price is a walk over the endpoints' tags for each request: a few nanoseconds each, and no cache miss, since they lie
//! side by side.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// The key of [`hash`]: fixed, for hashes have to be equal on every replica and after a restart.
const KEY: [u8; 16] = *b"serin.upstream/1";

/// Hashes what ties requests to an endpoint, such as a client's address or a session's key.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&KEY);
    hasher.write(bytes);
    hasher.finish()
}

/// The score of an endpoint for a key. The highest score has the key.
pub(super) fn score(key: u64, tag: u64) -> u64 {
    // The finalizer of splitmix64: every bit of the sum changes each bit of the score with odds of one half.
    let mut score = key.wrapping_add(tag);
    score = (score ^ (score >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    score = (score ^ (score >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    score ^ (score >> 31)
}

/// The score of an endpoint that has a weight, among others with other weights, from its score without.
///
/// Where `u` is uniform over (0, 1), the highest of `-w / ln u` is each endpoint's with odds of its share of the
/// weights. The order of positive floating-point numbers is that of their bits.
pub(super) fn weighted_score(score: u64, weight: u32) -> u64 {
    let uniform = ((score >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    (-f64::from(weight) / uniform.ln()).to_bits()
}
