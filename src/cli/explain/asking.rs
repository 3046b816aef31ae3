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

    fn server_name(&self) -> Option<&[u8]> {
        (self.imagined.scheme == Scheme::Https).then_some(self.imagined.server_name.as_bytes())
    }

    fn request_id(&self) -> &[u8] {
        self.view.request_id().unwrap_or(b"00000000000000000000000000000000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Limits, Request};

    /// What is noted, and what the endpoint is told, of a request of 10.0.0.1 to this port with these fields.
    fn told(scheme: Scheme, port: u16, fields: &[(&str, &str)], trust: &Trust) -> (Option<String>, [String; 5]) {
        let host = [("Host", "shop.example")];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let imagined = Imagined {
            server_name: String::new(),
            method: "GET".to_owned(),
            scheme,
            port,
            target: "/".to_owned(),
            fields: host.iter().chain(fields).map(owned).collect(),
            client: [10, 0, 0, 1].into(),
        };
        let (bytes, mut head) = (imagined.to_bytes(), Request::new());
        head.read(&bytes, &Limits::REQUEST).expect("the request can be served").expect("it is whole");
        let asking = Asking::new(head.view(&bytes), &imagined, trust);
        let note = asking.note().map(|step| match step {
            Step::Note(note) => note,
            other => panic!("{other:?} is no note"),
        });
        let Forwarded { client, chain, proto, port, host } = asking.forwarded();
        (note, [client, chain, proto, port, host].map(|text| String::from_utf8_lossy(text).into_owned()))
    }

    /// Whoever is in 10.0.0.0/8 is believed.
    fn trust() -> Trust {
        let proxies = "10.0.0.0/8".parse().expect("a network");
        Trust { proxies, forwarded_headers: true, full_chain: true, ..Trust::default() }
    }

    #[test]
    fn a_proxy_that_is_believed_tells_of_the_client() {
        let fields = [
            ("X-Forwarded-For", "192.0.2.1, 10.0.0.2"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "www.example"),
        ];
        let (note, said) = told(Scheme::Http, 80, &fields, &trust());
        let expected = "the proxy 10.0.0.1 is believed: 192.0.2.1 asks for www.example by https, port 443";
        assert_eq!(note.as_deref(), Some(expected));
        assert_eq!(said, ["192.0.2.1", "192.0.2.1, 10.0.0.2, 10.0.0.1", "https", "80", "www.example"]);
        let (note, said) = told(Scheme::Http, 80, &fields, &Trust::default());
        assert_eq!(note, None);
        assert_eq!(said, ["10.0.0.1", "10.0.0.1", "http", "80", ""]);
    }

    #[test]
    fn a_field_that_the_proxy_drops_tells_nothing() {
        let trust = Trust { field: "X_Client".into(), ..trust() };
        let (_, said) = told(Scheme::Http, 80, &[("X_Client", "192.0.2.1")], &trust);
        assert_eq!(said[0], "10.0.0.1");
    }

    #[test]
    fn the_port_of_https_is_443_whichever_was_asked_for() {
        let port = |scheme, port, fields: &[(&str, &str)]| told(scheme, port, fields, &trust()).1[3].clone();
        assert_eq!(port(Scheme::Https, 8443, &[]), "443");
        assert_eq!(port(Scheme::Http, 8080, &[]), "8080");
        assert_eq!(port(Scheme::Https, 8443, &[("X-Forwarded-Port", "9443")]), "9443");
    }
}
