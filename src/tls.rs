//! Certificates, which of them answers a server name, and the settings of TLS towards clients and towards endpoints.
//!
//! ```text
//! Secret ── parse ──> Certificate ──┐
//!                                   ├─> Certificates ── live ──> resolve <── ClientHello
//! made at start ────────────────────┘
//! Secret ── parse ──> Credentials ── live ──> Connector <── Terms
//! ```
//!
//! What is in a [`Certificate`] can serve: it was parsed, and its key fits. Whether it is the time for it is for those to
//! say who report; nothing here reads a clock. Towards endpoints, [`Credentials`] are what a Secret holds for it, [`Terms`]
//! what the objects ask for, and a [`Connector`] is what both make together. A private key is in no text that anything
//! here prints.

mod certificate;
pub mod client;
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
    client::{Connector, Connectors, Credentials, CredentialsMap, InvalidCredentials, NoConnector, SecretData, Terms},
    date::Date,
    invalid::InvalidCertificate,
    make::{Authority, Issued, Made, self_signed},
    provider::{install_provider, provider},
    server::{Protocols, Resolver, ServerConfig, server_config},
    shared::parse,
    store::{CertificateSet, Certificates, Found, Held, NameMatch},
};
