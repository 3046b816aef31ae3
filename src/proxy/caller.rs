//! Who is at the other end of a client's connection, and how it came in.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use super::Stream;
use crate::{route::Scheme, tls::ServerConfig};

/// The port that endpoints are told of where a request came by TLS, whichever it was: the one that clients know.
const HTTPS: &str = "443";

/// Where connections come in: a listener.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) port: u16,
    /// `X-Forwarded-Port`.
    pub(crate) port_text: Box<str>,
    /// What connections begin with, where they begin with TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// A client's connection, as far as its requests can have it in common.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) door: Rc<Door>,
    pub(crate) address: IpAddr,
    pub(crate) address_text: Box<str>,
    pub(crate) scheme: Scheme,
    /// The name that it gave in its handshake, empty where it gave none; none where there was no handshake.
    pub(crate) server_name: Option<Box<str>>,
}

// === impl Door ===

impl Door {
    pub(crate) fn new(port: u16, tls: Option<Arc<ServerConfig>>) -> Self {
        let port_text = if tls.is_some() { HTTPS.into() } else { port.to_string().into() };
        Self { port, port_text, tls }
    }
}

// === impl Caller ===

impl Caller {
    /// A caller from `address`, whose connection is ready for requests.
    pub(crate) fn new(door: Rc<Door>, address: IpAddr, stream: &Stream) -> Self {
        let address = address.to_canonical();
        let server_name = stream.server_name().map(Into::into);
        let scheme = if server_name.is_some() { Scheme::Https } else { Scheme::Http };
        Self { door, address, address_text: address.to_string().into(), scheme, server_name }
    }
}
