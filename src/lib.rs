//! Serin: an ingress controller and canary traffic gateway for Kubernetes.
//!
//! A watcher turns Ingress objects and their annotations into an immutable routing table. The table is swapped whole,
//! without a lock or a reload, under a proxy that forwards straight to endpoints.
//!
//! ```text
//! API server ─┐                                 ┌─> route ────┐
//!             ├─> source ─> store ─> translate ─┼─> tls ──────┼─> proxy ─> endpoints
//! YAML files ─┘                          │      └─> upstream ─┘
//!                                        └─> problems: check, admin
//! ```
//!
//! The modules stand in layers, lowest first. Each may use only those above it, and of them only those in its row (`*`
//! is all of them); the tests in `layers.rs` hold the code to it, and this table to the code. A module that is not
//! declared below is still to come: its row keeps its place.
//!
//! | module | purpose | may use |
//! |---|---|---|
//! | `key` | names of things: objects, hosts, clusters, routes | – |
//! | `problem` | what is wrong with an object, where, why, what follows, how to mend it | key |
//! | `draw` | chance as an argument | – |
//! | `http` | heads and bodies on the wire: views, parsing, framing, refusals; pure, fuzzed | – |
//! | `live` | a value read without locks, replaced whole | – |
//! | `lifecycle` | readiness guards; drain | – |
//! | `metrics` | the registry, labels, and bounds on their values | – |
//! | `route` | which backends serve a request, under which policy: the table and `decide` | draw http key |
//! | `upstream` | clusters of endpoints: which are up, which is next; names resolved by DNS | draw http key live metrics |
//! | `tls` | certificates; which one answers a server name | key live problem |
//! | `api` | the Kubernetes kinds that we use | key |
//! | `store` | objects as last observed; consistent snapshots | api key |
//! | `translate` | snapshot to routes, clusters and problems; the registry of annotations | api http key problem route store tls upstream |
//! | `source` | where objects come from | api key lifecycle metrics problem store |
//! | `pipeline` | the one writer: events in, tables out | key lifecycle live metrics problem route source store tls translate upstream |
//! | `proxy` | serves requests | draw http key lifecycle live metrics route tls upstream |
//! | `leader` | which replica may write | lifecycle metrics |
//! | `status` | reports back: addresses, events, conditions | api key leader live metrics problem translate |
//! | `rollout` | moves a canary's weight as measurements allow | api key leader metrics |
//! | `admission` | the webhook: the same translation, with the reviewed object put in | api key leader live metrics problem store tls translate |
//! | `admin` | health, readiness, metrics, dumps of what is live | key lifecycle live metrics problem route tls upstream |
//! | `config` | flags and environment, as each module's own configuration | admin admission http key leader metrics pipeline proxy rollout source status translate |
//! | `app` | wires and runs | `*` |
//! | `cli` | the commands | api app config draw http key metrics problem route source store tls translate upstream |

pub mod admin;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod draw;
pub mod http;
pub mod key;
pub mod lifecycle;
pub mod live;
pub mod metrics;
pub mod pipeline;
pub mod problem;
pub mod proxy;
pub mod route;
pub mod source;
pub mod store;
pub mod tls;
pub mod translate;
pub mod upstream;

#[cfg(test)]
mod layers;
