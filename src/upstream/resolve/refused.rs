//! Addresses that no name may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses at which clouds answer questions about the machine and hand out its credentials, beyond link-local ones.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure's host agent
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud, formerly
];
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),      // AWS
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),       // Google Cloud
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), // Oracle Cloud
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),        // Scaleway
];

/// Whether an answer may not lead there: to this machine, to its links, to nobody or everybody, to metadata of a cloud.
///
/// Private addresses are not refused: names of the cluster's own Services and of machines beside it are what
/// `ExternalName` is for.
#[must_use]
pub fn is_refused(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_refused_v4(address),
        IpAddr::V6(address) => is_refused_v6(address),
    }
}

fn is_refused_v4(address: Ipv4Addr) -> bool {
    // 0.0.0.0/8 is this host; 240.0.0.0/4 is reserved and ends with broadcast.
    let [first, ..] = address.octets();
    first == 0
        || first >= 240
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || METADATA_V4.contains(&address)
}

fn is_refused_v6(address: Ipv6Addr) -> bool {
    address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || METADATA_V6.contains(&address)
        || embedded(address).is_some_and(is_refused_v4)
}

/// The IPv4 address that an IPv6 address stands for, by translation or by a tunnel.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // IPv4-compatible, RFC 4291 §2.5.5.1; NAT64, RFC 6052 §2.1; NAT64 of a site, RFC 8215.
        [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        // 6to4, RFC 3056 §2.
        | [0x2002, high, low, _, _, _, _, _] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_and_metadata_addresses_are_refused() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.170.2",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::127.0.0.1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(is_refused(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn other_addresses_are_not() {
        for address in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "100.100.100.201",
            "192.0.2.1",
            "8.8.8.8",
            "fd00::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(!is_refused(address.parse().unwrap()), "{address}");
        }
    }
}
