//! One address, and what is known of it while it stays.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

use super::{health::Health, latency::Latency, rendezvous};

/// The number of an endpoint. No other has it as long as the process runs, not even a later one with the same address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct EndpointId(u64);

/// An address that a cluster has, or had.
///
/// All workers write to it, so it has cache lines of its own: 128 bytes, because processors fetch lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct Endpoint {
    id: EndpointId,
    address: SocketAddr,
    tag: u64,
    pub(super) in_flight: AtomicU32,
    removed: AtomicBool,
    pub(super) latency: Latency,
    pub(super) health: Health,
}

// === impl EndpointId ===

impl EndpointId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Relaxed))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn new(address: SocketAddr, latency: Latency) -> Self {
        Self {
            id: EndpointId::next(),
            address,
            tag: tag(address),
            in_flight: AtomicU32::new(0),
            removed: AtomicBool::new(false),
            latency,
            health: Health::default(),
        }
    }

    /// What pools of connections are keyed by.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a session remembers an endpoint by. It follows from the address alone, so that every replica knows it.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// Leases that are held now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Whether the cluster has it no more: what is in flight finishes, and its connections are not given back. Those that
    /// are idle stay until the limit of idle ones has passed, or the endpoint closes them.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Relaxed)
    }

    pub(super) fn remove(&self) {
        self.removed.store(true, Relaxed);
    }
}

/// The tag of an address: equal on every replica and after a restart.
fn tag(address: SocketAddr) -> u64 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    rendezvous::hash(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_the_same_on_every_replica() {
        // Browsers hold these: other values would move all sessions. Computed with another SipHash-1-3.
        assert_eq!(tag("10.0.0.1:8080".parse().unwrap()), 12_729_483_882_011_553_048);
        assert_eq!(tag("[fd00::1]:8080".parse().unwrap()), 10_181_418_727_806_847_105);
    }

    #[test]
    fn an_endpoint_fills_its_own_cache_lines() {
        assert_eq!(std::mem::align_of::<Endpoint>(), 128);
        assert_eq!(std::mem::size_of::<Endpoint>(), 128);
    }
}
