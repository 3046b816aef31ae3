//! Where a request comes from: what its connection shows, or what a proxy before us tells that is believed.

use std::{borrow::Cow, net::IpAddr};

use super::caller::Caller;
use crate::{
    http::{
        Forwarded, RequestView,
        forwarded::{Told, Trust},
    },
    route::Scheme,
};

/// What is known of who sent a request, and how. Nothing is allocated for it where no proxy is believed.
#[derive(Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) address: IpAddr,
    pub(crate) scheme: Scheme,
    /// The port for redirects.
    pub(crate) port: u16,
    /// The host that the client asked for, where it is not the request's own.
    pub(crate) host: Option<&'a [u8]>,
    address_text: Cow<'a, str>,
    port_text: Cow<'a, str>,
    chain: Option<Vec<u8>>,
}

// === impl Origin ===

impl<'a> Origin<'a> {
    /// The origin of a request of `caller`.
    pub(crate) fn of(trust: &Trust, caller: &'a Caller, view: RequestView<'a>) -> Self {
        let shown = Self {
            address: caller.address,
            scheme: caller.scheme,
            port: caller.door.port,
            host: None,
            address_text: Cow::Borrowed(&caller.address_text),
            port_text: Cow::Borrowed(&caller.door.port_text),
            chain: None,
        };
        match trust.hear(caller.address, view.fields()) {
            Some(told) => shown.with(told, caller),
            None => shown,
        }
    }

    /// The same, as far as nothing else is told.
    fn with(mut self, mut told: Told<'a>, caller: &Caller) -> Self {
        if told.client != self.address {
            self.address = told.client;
            self.address_text = Cow::Owned(told.client.to_string());
        }
        // A PROXY header that names port 443 has the last word on the scheme, as in ingress-nginx.
        told.https = told.https.filter(|_| !caller.surely_https);
        self.port = told.port_beside(self.scheme == Scheme::Https, self.port);
        self.scheme = match told.https {
            Some(true) => Scheme::Https,
            Some(false) => Scheme::Http,
            None => self.scheme,
        };
        // As ingress-nginx does, an endpoint is told the connection's port where no other is told.
        if let Some(port) = told.port {
            self.port_text = Cow::Owned(port.to_string());
        }
        self.host = told.host;
        self.chain = told.chain;
        self
    }

    /// What the endpoint is told.
    pub(crate) fn forwarded(&self) -> Forwarded<'_> {
        let client = self.address_text.as_bytes();
        Forwarded {
            client,
            chain: self.chain.as_deref().unwrap_or(client),
            proto: self.scheme.as_str().as_bytes(),
            port: self.port_text.as_bytes(),
            host: self.host.unwrap_or_default(),
        }
    }
}
