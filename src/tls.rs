//! TLS, and what it needs of Secrets.
//!
//! Towards endpoints: [`Credentials`] are what a Secret holds for it, [`Terms`] what the objects ask for, and a
//! [`Connector`] is what both make together. A private key is in no text that anything here prints.

pub mod client;

pub use self::client::{
    Connector, Connectors, Credentials, CredentialsMap, InvalidCredentials, NoConnector, SecretData, Terms,
};
