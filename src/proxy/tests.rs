//! The proxy as a client and an endpoint see it.

#[expect(dead_code, reason = "not every part of it is used yet")]
mod harness;
mod plain;
