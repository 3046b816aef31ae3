//! Certificates, which of them answers a server name, and the settings of TLS towards clients.
//!
//! ```text
//! Secret ── parse ──> Certificate ──┐
//!                                   ├─> Certificates ── live ──> resolve <── ClientHello
//! made at start ────────────────────┘
//! ```
//!
//! What is in a [`Certificate`] can serve: it was parsed, and its key fits. Whether it is the time for it is for those to
//! say who report; nothing here reads a clock. A private key is in no text that anything here prints.

mod certificate;
mod date;
mod invalid;
mod make;
mod provider;
mod server;
mod shared;
mod store;

#[cfg(test)]
pub(crate) mod testing;

pub use self::{
    certificate::{Certificate, KeyKind, Validity},
    date::Date,
    invalid::InvalidCertificate,
    make::{Authority, Issued, Made, self_signed},
    provider::{install_provider, provider},
    server::{Protocols, Resolver, ServerConfig, server_config},
    shared::parse,
    store::{CertificateSet, Certificates, Found, Held, NameMatch},
};
