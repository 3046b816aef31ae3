//! Who is at the other end of a client's connection, and how it came in.

use std::{net::IpAddr, rc::Rc, sync::Arc};

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
    /// Whether a PROXY header says that the client used https, whatever fields of requests say.
    pub(crate) surely_https: bool,
    /// The name that it gave in its handshake, empty where it gave none; none where there was no handshake.
    pub(crate) server_name: Option<Box<str>>,
}

// === impl Door ===

impl Door {
    pub(crate) fn new(port: u16, tls: Option<Arc<ServerConfig>>) -> Self {
        let port_text = if tls.is_some() { HTTPS.into() } else { port.to_string().into() };
        Self { port, port_text, tls }
    }

    /// The same, as reached by another port.
    fn at(&self, port: u16) -> Self {
        Self { port, port_text: port.to_string().into(), tls: self.tls.clone() }
    }
}

// === impl Caller ===

impl Caller {
    /// A caller from `address`.
    pub(crate) fn new(door: Rc<Door>, address: IpAddr) -> Self {
        let address = address.to_canonical();
        let scheme = if door.tls.is_some() { Scheme::Https } else { Scheme::Http };
        Self { door, address, address_text: address.to_string().into(), scheme, surely_https: false, server_name: None }
    }

    /// A caller whom a PROXY header names. It wanted to reach `port`, which is what counts as the port; 443 means https, as
    /// in ingress-nginx.
    pub(crate) fn introduced(door: Rc<Door>, address: IpAddr, port: u16) -> Self {
        let door = if port == door.port { door } else { Rc::new(door.at(port)) };
        let mut caller = Self::new(door, address);
        if port == 443 {
            caller.surely_https = true;
            caller.scheme = Scheme::Https;
        }
        caller
    }

    /// The scheme of the connection itself, whatever anybody tells: nginx's `$scheme`.
    pub(crate) fn own_scheme(&self) -> Scheme {
        if self.door.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}
