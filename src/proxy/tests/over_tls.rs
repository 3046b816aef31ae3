//! The suite over TLS.

suite!(tls: true);

#[path = "tls.rs"]
mod tls;
