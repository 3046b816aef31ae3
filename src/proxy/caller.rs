//! Who is at the other end of a client's connection, and how it came in.

use std::{net::IpAddr, rc::Rc};

use crate::route::Scheme;

/// Where connections come in: a listener.
#[derive(Debug)]
pub(crate) struct Door {
    /// The port, and the same as text, for `X-Forwarded-Port`.
    pub(crate) port: u16,
    pub(crate) port_text: Box<str>,
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
}

// === impl Door ===

impl Door {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, port_text: port.to_string().into() }
    }
}

// === impl Caller ===

impl Caller {
    /// A caller on a plain connection from `address`.
    pub(crate) fn plain(door: Rc<Door>, address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { door, address, address_text: address.to_string().into(), scheme: Scheme::Http, surely_https: false }
    }

    /// A caller whom a PROXY header names, on a plain connection. It wanted to reach `port`, which is what counts as the
    /// port; 443 means https, as in ingress-nginx.
    pub(crate) fn introduced(door: Rc<Door>, address: IpAddr, port: u16) -> Self {
        let door = if port == door.port { door } else { Rc::new(Door::new(port)) };
        let surely_https = port == 443;
        let scheme = if surely_https { Scheme::Https } else { Scheme::Http };
        Self { scheme, surely_https, ..Self::plain(door, address) }
    }
}
