//! The PROXY header, by which a load balancer says who the client is before the client's first byte.
//!
//! Version 1 is a line of text, version 2 is binary (`proxy-protocol.txt` of HAProxy). Where a listener expects the
//! header, a connection without it is closed: otherwise any client could say who it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::token;

/// The most bytes that a header of version 1 has.
const LINE: usize = 107;
/// The most bytes of addresses and extensions that are taken in version 2. The largest known ones, certificates of
/// clients, stay below.
const PAYLOAD: usize = 4096;
/// The most bytes that a header has: with so many at hand, it is whole, or none.
pub const ROOM: usize = 16 + PAYLOAD;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A PROXY header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyHeader {
    /// How many bytes it has.
    pub length: usize,
    /// The client and the address that it connected to; none where the sender speaks for itself or does not know.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

/// Bytes that are no PROXY header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadProxyHeader;

// === impl ProxyHeader ===

impl ProxyHeader {
    /// Reads the header at the front of `bytes`, or `None` where it goes on after them.
    ///
    /// # Errors
    ///
    /// Where the bytes are no PROXY header; the connection must then be closed.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, BadProxyHeader> {
        let common = bytes.iter().zip(SIGNATURE).take_while(|(byte, signature)| byte == signature).count();
        if common == SIGNATURE.len() {
            read_binary(bytes)
        } else if common == bytes.len() {
            Ok(None)
        } else {
            read_text(bytes)
        }
    }
}

/// Reads a header of version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 5000 443`.
fn read_text(bytes: &[u8]) -> Result<Option<ProxyHeader>, BadProxyHeader> {
    const START: &[u8] = b"PROXY ";
    let start = &bytes[..bytes.len().min(START.len())];
    if !START.starts_with(start) {
        return Err(BadProxyHeader);
    }
    let head = &bytes[..bytes.len().min(LINE)];
    let Some(end) = memchr::memchr(b'\n', head) else {
        return if bytes.len() < LINE { Ok(None) } else { Err(BadProxyHeader) };
    };
    let line = head[..end].strip_suffix(b"\r").and_then(|line| line.strip_prefix(START)).ok_or(BadProxyHeader)?;
    let line = std::str::from_utf8(line).map_err(|_| BadProxyHeader)?;
    let mut words = line.split(' ');
    let family = words.next();
    let addresses = match family {
        Some("UNKNOWN") => None,
        Some("TCP4" | "TCP6") => {
            let mut address = || -> Option<IpAddr> {
                let word = words.next()?;
                match family {
                    Some("TCP4") => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
                    _ => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
                }
            };
            let (client, local) = (address().ok_or(BadProxyHeader)?, address().ok_or(BadProxyHeader)?);
            let mut port = || {
                let word = words.next()?.as_bytes();
                let padded = word.len() > 1 && word[0] == b'0';
                token::decimal(word).filter(|_| !padded).and_then(|port| u16::try_from(port).ok())
            };
            let (from, to) = (port().ok_or(BadProxyHeader)?, port().ok_or(BadProxyHeader)?);
            if words.next().is_some() {
                return Err(BadProxyHeader);
            }
            Some((SocketAddr::new(client, from), SocketAddr::new(local, to)))
        }
        _ => return Err(BadProxyHeader),
    };
    Ok(Some(ProxyHeader { length: end + 1, addresses }))
}

/// Reads a header of version 2, whose signature is there.
fn read_binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, BadProxyHeader> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
    let (command, family) = (head[12], head[13]);
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > PAYLOAD || !matches!(command, 0x20 | 0x21) {
        return Err(BadProxyHeader);
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let local = command == 0x20;
    let addresses = match family {
        _ if local => None,
        0x11 => Some(v4(payload).ok_or(BadProxyHeader)?),
        0x21 => Some(v6(payload).ok_or(BadProxyHeader)?),
        // Datagrams, Unix sockets and what is not specified: from somebody whose address is of no use to us.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => None,
        _ => return Err(BadProxyHeader),
    };
    Ok(Some(ProxyHeader { length: 16 + length, addresses }))
}

fn v4(payload: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (client, rest) = payload.split_first_chunk::<4>()?;
    let (local, rest) = rest.split_first_chunk::<4>()?;
    let (from, to) = ports(rest)?;
    Some((SocketAddr::new((*client).into(), from), SocketAddr::new((*local).into(), to)))
}

fn v6(payload: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (client, rest) = payload.split_first_chunk::<16>()?;
    let (local, rest) = rest.split_first_chunk::<16>()?;
    let (from, to) = ports(rest)?;
    Some((SocketAddr::new((*client).into(), from), SocketAddr::new((*local).into(), to)))
}

fn ports(payload: &[u8]) -> Option<(u16, u16)> {
    let (ports, _) = payload.split_first_chunk::<4>()?;
    Some((u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(payload.len()).expect("the payload is short").to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_line_names_client_and_destination() {
        for (line, addresses) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\n", Some(("192.0.2.1:5000", "198.51.100.1:443"))),
            ("PROXY TCP6 2001:db8::1 ::1 5000 443\r\n", Some(("[2001:db8::1]:5000", "[::1]:443"))),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN a b c d\r\n", None),
        ] {
            let rest = format!("{line}GET / HTTP/1.1\r\n");
            let read = ProxyHeader::read(rest.as_bytes()).expect("the header is good").expect("the header is whole");
            assert_eq!(read.length, line.len());
            let expected = addresses.map(|(from, to)| (from.parse().expect("address"), to.parse().expect("address")));
            assert_eq!(read.addresses, expected, "{line}");
            for end in 0..line.len() {
                assert_eq!(ProxyHeader::read(&line.as_bytes()[..end]), Ok(None), "{}", &line[..end]);
            }
        }
    }

    #[test]
    fn a_binary_header_names_client_and_destination() {
        let v4 = binary(0x21, 0x11, b"\xc0\0\x02\x01\xc6\x33\x64\x01\x13\x88\x01\xbbextension");
        let read = ProxyHeader::read(&v4).expect("the header is good").expect("the header is whole");
        assert_eq!(read.length, v4.len());
        let addresses = ("192.0.2.1:5000".parse().expect("address"), "198.51.100.1:443".parse().expect("address"));
        assert_eq!(read.addresses, Some(addresses));
        for end in 0..v4.len() {
            assert_eq!(ProxyHeader::read(&v4[..end]), Ok(None));
        }

        let mut payload = [0; 36];
        payload[15] = 1;
        payload[31] = 2;
        payload[33] = 80;
        let v6 = binary(0x21, 0x21, &payload);
        let read = ProxyHeader::read(&v6).expect("the header is good").expect("the header is whole");
        let addresses = ("[::1]:80".parse().expect("address"), "[::2]:0".parse().expect("address"));
        assert_eq!(read.addresses, Some(addresses));

        let local = ProxyHeader::read(&binary(0x20, 0, b"")).expect("the header is good");
        assert_eq!(local, Some(ProxyHeader { length: 16, addresses: None }));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 5000\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 5000 443 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 5000 65536\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 05000 443\r\n",
            "PROXY TCP4 192.0.2.1 ::1 5000 443\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 5000 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 5000 443\r\n",
            "proxy TCP4 192.0.2.1 198.51.100.1 5000 443\r\n",
        ] {
            assert_eq!(ProxyHeader::read(line.as_bytes()), Err(BadProxyHeader), "{line}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        assert_eq!(ProxyHeader::read(long.as_bytes()), Err(BadProxyHeader));
        for (command, family, payload) in
            [(0x11, 0x11, &[0; 12][..]), (0x22, 0x11, &[0; 12]), (0x21, 0x11, &[0; 11]), (0x21, 0x41, &[0; 12])]
        {
            assert_eq!(ProxyHeader::read(&binary(command, family, payload)), Err(BadProxyHeader));
        }
        assert_eq!(ProxyHeader::read(&binary(0x21, 0x11, &[0; 4097])), Err(BadProxyHeader));
    }
}
