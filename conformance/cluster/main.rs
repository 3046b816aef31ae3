//! Drives the whole program beside a real API server: etcd, kube-apiserver and its controllers, without a node.
//!
//! `just control-plane` builds those, once; where they are not there, each test says so and passes. Endpoints are
//! listeners in the network of the test.

mod churn;
mod classes;
mod control_plane;
mod gate;
#[expect(dead_code, reason = "the test `conformance` uses the rest")]
mod grpc;
mod namespace;
mod outages;
mod rights;
mod serving;
mod shop;
mod smoke;

#[path = "../client.rs"]
mod client;
#[expect(dead_code, reason = "the test `conformance` uses the rest")]
#[path = "../echo.rs"]
mod echo;
#[expect(dead_code, reason = "the test `conformance` uses the rest")]
#[path = "../gateway.rs"]
mod gateway;
#[expect(dead_code, reason = "the test `conformance` uses the rest")]
#[path = "../manifests.rs"]
mod manifests;
#[expect(dead_code, reason = "the test `conformance` uses the rest")]
#[path = "../peer.rs"]
mod peer;
#[path = "../tls.rs"]
mod tls;
#[path = "../wire.rs"]
mod wire;
