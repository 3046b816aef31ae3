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
        Self { door, address, address_text: address.to_string().into(), scheme: Scheme::Http }
    }
}
