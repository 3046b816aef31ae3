//! What proxies before us tell of a client, and whose word is believed.
//!
//! A proxy that has ended the client's connection tells of the client in fields: `X-Forwarded-For` and its kin. Anybody
//! can write them, so that they count only where the sender's address is among those that the operator names. The rule
//! is nginx's (`ngx_http_realip_module` with `real_ip_recursive on`): the address of the client is the right-most that is
//! no such proxy, since everything to the left of it was written by somebody who is not known.
//!
//! What always holds: nothing is told by a sender who is not among the proxies, and none of them is there by default.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    host::is_authority,
    token::{self, is_name, is_word},
};

/// Proxies, by the networks that they are in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

/// A text that is no list of networks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no address and no network; write 192.0.2.1, 10.0.0.0/8 or fd00::/8, with commas between")]
pub struct InvalidProxies(String);

/// What is believed of what proxies tell of a client.
///
/// The names are those of ingress-nginx's settings, and so are the defaults, but for the proxies: ingress-nginx believes
/// everybody where none are named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    /// Who is believed (`proxy-real-ip-cidr`).
    pub proxies: Proxies,
    /// Whether connections begin with a PROXY header (`use-proxy-protocol`).
    pub proxy_protocol: bool,
    /// Whether `X-Forwarded-For`, `-Proto`, `-Port` and `-Host` are believed (`use-forwarded-headers`).
    pub forwarded_headers: bool,
    /// Whether the client's address alone is believed (`enable-real-ip`).
    pub real_ip: bool,
    /// The field that the client's address is in (`forwarded-for-header`).
    pub field: Box<str>,
    /// Whether endpoints get the whole `X-Forwarded-For`, with the sender at its end, instead of the client's address
    /// (`compute-full-forwarded-for`).
    pub full_chain: bool,
}

/// What a believed proxy tells of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told<'a> {
    /// The client's address; the sender's own where no other can be read.
    pub client: IpAddr,
    /// Whether the client used https.
    pub https: Option<bool>,
    /// The port that the client used.
    pub port: Option<u16>,
    /// The host that the client asked for, with a port where it named one.
    pub host: Option<&'a [u8]>,
    /// What endpoints get as `X-Forwarded-For`, where that is more than the client's address.
    pub chain: Option<Vec<u8>>,
}

// === impl Proxies ===

impl Proxies {
    /// Whether an address is one of theirs.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether everybody who has an IPv4 address is among them, or everybody who has an IPv6 one.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        IpNet::aggregate(&self.0).iter().any(|network| network.prefix_len() == 0)
    }
}

impl FromStr for Proxies {
    type Err = InvalidProxies;

    /// Reads addresses and networks with commas between; no text is nobody.
    fn from_str(text: &str) -> Result<Self, InvalidProxies> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| {
            let network = part.parse().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
            network.map(|network| network.trunc()).map_err(|_| InvalidProxies(part.to_owned()))
        };
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl FromIterator<Self> for Proxies {
    fn from_iter<I: IntoIterator<Item = Self>>(lists: I) -> Self {
        Self(lists.into_iter().flat_map(|list| list.0).collect())
    }
}

// === impl Trust ===

impl Trust {
    /// Whether anybody could be believed anything, if they are among the proxies.
    #[must_use]
    pub fn believes(&self) -> bool {
        self.proxy_protocol || self.forwarded_headers || self.real_ip
    }

    /// What a request's fields tell, where the word of their sender counts.
    ///
    /// The sender is whoever the connection is with. Beside PROXY headers that is whom they name, since the proxy that
    /// wrote them need not have looked at the fields; the client's address is theirs to tell then, and `field` is not
    /// read.
    #[inline]
    pub fn hear<'a>(&self, sender: IpAddr, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<Told<'a>> {
        if !self.forwarded_headers && !self.real_ip || !self.proxies.contains(sender) {
            return None;
        }
        Some(self.listen(sender, fields))
    }

    /// As [`Trust::hear`], for a sender whose word counts.
    fn listen<'a>(&self, sender: IpAddr, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Told<'a> {
        let sender = sender.to_canonical();
        let mut addresses = SmallVec::<[&[u8]; 4]>::new();
        let (mut proto, mut port, mut host) = (None, None, None);
        let mut chain = (self.forwarded_headers && self.full_chain).then(Vec::new);
        for (name, value) in fields {
            if !self.proxy_protocol && name.eq_ignore_ascii_case(self.field.as_bytes()) {
                addresses.push(value);
            }
            if !self.forwarded_headers {
                continue;
            }
            if is_name(name, b"x-forwarded-proto") {
                proto = proto.or(Some(first(value)));
            } else if is_name(name, b"x-forwarded-port") {
                port = port.or(Some(first(value)));
            } else if is_name(name, b"x-forwarded-host") {
                host = host.or(Some(first(value)));
            } else if is_name(name, b"x-forwarded-for")
                && let Some(chain) = chain.as_mut().filter(|_| !value.is_empty())
            {
                chain.extend_from_slice(value);
                chain.extend_from_slice(b", ");
            }
        }
        if let Some(chain) = &mut chain {
            chain.extend_from_slice(sender.to_string().as_bytes());
        }
        Told {
            client: self.client(sender, &addresses),
            https: proto.and_then(is_https),
            port: port.and_then(token::decimal).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
            host: host.filter(|host| is_authority(host)),
            chain,
        }
    }

    /// The client of a sender whose word counts: the right-most address that is no proxy's. Where all are, it is the
    /// left-most; what cannot be read ends the search, and the last that could be read it is.
    fn client(&self, sender: IpAddr, fields: &[&[u8]]) -> IpAddr {
        let mut client = sender;
        for element in fields.iter().rev().flat_map(|field| elements_from_right(field)) {
            if !self.proxies.contains(client) {
                break;
            }
            let Some(address) = address(element) else { break };
            client = address;
        }
        client
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            proxies: Proxies::default(),
            proxy_protocol: false,
            forwarded_headers: false,
            real_ip: false,
            field: "X-Forwarded-For".into(),
            full_chain: false,
        }
    }
}

// === impl Told ===

impl Told<'_> {
    /// The port that the client used, where the proxy's connection is by https or not and to `port`.
    ///
    /// Another scheme that is told without a port has its own: that of the connection belongs to the way from the proxy.
    #[must_use]
    pub fn port_beside(&self, https: bool, port: u16) -> u16 {
        match (self.port, self.https) {
            (Some(told), _) => told,
            (None, Some(told)) if told != https => {
                if told {
                    443
                } else {
                    80
                }
            }
            _ => port,
        }
    }
}

/// The first element of a list: what the proxy next to the client wrote.
fn first(list: &[u8]) -> &[u8] {
    list.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii()
}

fn elements_from_right(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.rsplit(|byte| matches!(byte, b',' | b' ')).filter(|element| !element.is_empty())
}

/// Reads an address as nginx does: `192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1` or `[2001:db8::1]:5000`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (host, port) = text.rsplit_once(':')?;
    token::decimal(port.as_bytes()).filter(|port| (1..=65535).contains(port))?;
    let address = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.into(),
        None => IpAddr::from(host.parse::<Ipv4Addr>().ok()?),
    };
    Some(address.to_canonical())
}

/// Whether a scheme is a safe one; some proxies write that of WebSocket.
fn is_https(scheme: &[u8]) -> Option<bool> {
    if is_word(scheme, b"https") || is_word(scheme, b"wss") {
        Some(true)
    } else if is_word(scheme, b"http") || is_word(scheme, b"ws") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
