//! A request that is thought of, as the proxy reads it: with what is believed of where it comes from.

use std::net::IpAddr;

use super::Imagined;
use crate::{
    http::{
        Forwarded, RequestView,
        forwarded::{Told, Trust},
    },
    route::{self, Scheme, Step},
};

/// What is asked, and by whom.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) view: RequestView<'a>,
    pub(super) imagined: &'a Imagined,
    /// What a proxy that is believed tells of the client.
    told: Option<Told<'a>>,
    /// `X-Real-IP`.
    client_text: String,
    /// `X-Forwarded-Port`.
    port_text: String,
}

// === impl Asking ===

impl<'a> Asking<'a> {
    pub(super) fn new(view: RequestView<'a>, imagined: &'a Imagined, trust: &Trust) -> Self {
        let told = trust.hear(imagined.client, view.fields());
        let client = told.as_ref().map_or(imagined.client, |told| told.client);
        // As the proxy does, an endpoint is told the connection's port where no other is told, and 443 of any for https.
        let port = match (told.as_ref().and_then(|told| told.port), imagined.scheme) {
            (Some(port), _) => port,
            (None, Scheme::Https) => 443,
            (None, Scheme::Http) => imagined.port,
        };
        Self { view, imagined, told, client_text: client.to_string(), port_text: port.to_string() }
    }

    /// What the endpoint is told.
    pub(super) fn forwarded(&self) -> Forwarded<'_> {
        let client = self.client_text.as_bytes();
        let chain = self.told.as_ref().and_then(|told| told.chain.as_deref());
        Forwarded {
            client,
            chain: chain.unwrap_or(client),
            proto: route::Request::scheme(self).as_str().as_bytes(),
            port: self.port_text.as_bytes(),
            host: self.told_host().unwrap_or_default(),
        }
    }

    /// Who is believed what.
    pub(super) fn note(&self) -> Option<Step> {
        let Told { client, .. } = self.told.as_ref()?;
        let proxy = self.imagined.client;
        let host = String::from_utf8_lossy(route::Request::public_authority(self));
        let (scheme, port) = (route::Request::scheme(self).as_str(), route::Request::port(self));
        Some(Step::Note(format!("the proxy {proxy} is believed: {client} asks for {host} by {scheme}, port {port}")))
    }

    fn told_host(&self) -> Option<&[u8]> {
        self.told.as_ref().and_then(|told| told.host)
    }
}

impl route::Request for Asking<'_> {
    fn method(&self) -> &[u8] {
        self.view.method()
    }

    fn authority(&self) -> &[u8] {
        self.view.authority()
    }

    fn public_authority(&self) -> &[u8] {
        self.told_host().unwrap_or(self.view.authority())
    }

    fn target(&self) -> &[u8] {
        self.view.target()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.view.fields()
    }

    fn client(&self) -> IpAddr {
        self.told.as_ref().map_or(self.imagined.client, |told| told.client)
    }

    fn scheme(&self) -> Scheme {
        match self.told.as_ref().and_then(|told| told.https) {
            Some(true) => Scheme::Https,
            Some(false) => Scheme::Http,
            None => self.imagined.scheme,
        }
    }

    fn port(&self) -> u16 {
        let Imagined { scheme, port, .. } = *self.imagined;
        self.told.as_ref().map_or(port, |told| told.port_beside(scheme == Scheme::Https, port))
    }

    fn request_id(&self) -> &[u8] {
        self.view.request_id().unwrap_or(b"00000000000000000000000000000000")
    }
}
