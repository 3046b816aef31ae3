//! One try at an endpoint.

use std::{net::SocketAddr, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    endpoint::{Endpoint, EndpointId},
    health::Admission,
};

/// The right to send one request to an endpoint, counted as in flight until it is dropped.
///
/// Its holder reports how the try went. A lease that is dropped without a report (the client left) says nothing of
/// the endpoint.
#[derive(Debug)]
#[must_use = "the request is in flight only as long as its lease is held"]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    admission: Admission,
    displaced: bool,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(endpoint: Arc<Endpoint>, admission: Admission, displaced: bool) -> Self {
        endpoint.in_flight.fetch_add(1, Relaxed);
        Self { endpoint, admission, displaced }
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The number of the endpoint: what pools are keyed by, and what a retry lists as tried.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.endpoint.id()
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    /// Whether the request was tied to another endpoint (by its session, hash or client address) that could not be
    /// had: it is gone, passed over, or was tried before.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        self.displaced
    }

    /// Reports an answer, whatever its status: `latency` is the time from asking to the head of the answer.
    pub fn succeeded(&mut self, latency: Duration, now: u64) {
        self.endpoint.latency.observe(latency, now);
        self.endpoint.health.succeeded(self.admission);
        self.admission = Admission::Up;
    }

    /// Reports that the endpoint refused or reset the connection, or did not let itself be connected to in time.
    ///
    /// A kept connection that turns out to be closed is no failure of the endpoint; nor is a client that leaves.
    /// Returns whether the endpoint is passed over from now on, having been up or probed until now.
    pub fn failed(&mut self, now: u64) -> bool {
        let admission = std::mem::replace(&mut self.admission, Admission::Up);
        self.endpoint.health.failed(admission, now)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.health.withdrawn(self.admission);
        self.endpoint.in_flight.fetch_sub(1, Relaxed);
    }
}
