//! The proxy as a client and an endpoint see it.

mod harness;

mod affinity;
mod bodies;
mod forwarded;
mod hostile;
mod introductions;
mod life;
mod limits;
mod plain;
mod retries;
mod timeouts;
mod tunnels;
