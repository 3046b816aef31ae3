//! Clusters of endpoints: which are up, and which is next.
//!
//! A [`Cluster`] is one port of one Service. It is made once and outlives the tables that name it: `pipeline` hands it
//! every new description of its [`Endpoints`], and an endpoint whose address stays keeps its identity, its requests in
//! flight, its answer times and its health. `proxy` asks it for a [`Lease`] per try, and reports how the try went.
//!
//! ```text
//! translate ── Endpoints ──> pipeline ── replace ──> Cluster <── pick ── proxy
//!                                                      ^ |                 ^
//!                        resolve ── names by DNS ──────┘ └───── Lease ─────┘
//! ```
//!
//! Nothing here locks on the request's path. What the balancers remember is either a worker's own ([`Positions`]) or
//! in relaxed atomics of an endpoint, which has cache lines of its own. Chance and time are arguments: times are
//! milliseconds of any monotonic clock that all workers share.

mod balance;
mod clients;
mod cluster;
mod describe;
mod endpoint;
mod health;
mod latency;
mod lease;
mod positions;
mod rendezvous;
pub mod resolve;
mod set;

pub use self::{
    balance::{Algorithm, Session, Wanted},
    cluster::{Cluster, ClusterSnapshot, EndpointSnapshot, NameSnapshot},
    describe::{EndpointSpec, Endpoints, ExternalName, Origin},
    endpoint::{Endpoint, EndpointId},
    health::EndpointState,
    lease::Lease,
    positions::Positions,
    rendezvous::hash,
    resolve::Resolver,
};
