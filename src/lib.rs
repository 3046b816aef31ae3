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
//! The modules stand in layers; each may use only those above it, and a test (`layers`) holds them to it. Lowest first:

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
