//! Where the admin port listens: on every address that is asked for, or not at all.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tracing::warn;

/// How many clients the kernel lets wait.
const BACKLOG: i32 = 1024;

/// How often another free port is tried, where one is free on the first address only.
const TRIES: usize = 10;

/// Listens on all of `addresses`. For port 0, a free one is taken, the same on all.
///
/// The IPv6 wildcard takes IPv4 too, unless an IPv4 address is asked for as well. Where the machine has no IPv6, it is
/// IPv4's.
pub(super) fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_all(addresses) {
            Err((address, error))
                if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries < TRIES => {}
            Err((address, error)) => {
                let advice = advice(&error, "--healthz-port");
                bail!("cannot listen on {address} for health and metrics: {error}{advice}");
            }
            Ok(listeners) => {
                let listeners = listeners.into_iter().map(|listener| TcpListener::from_std(listener.into()));
                return listeners.collect::<io::Result<_>>().context("cannot listen for health and metrics");
            }
        }
    }
}

/// What to do about an error, as a user who is not root meets it with the ports that are the defaults.
pub(super) fn advice(error: &io::Error, flags: &str) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("; a port below 1024 needs the capability CAP_NET_BIND_SERVICE: name another with {flags}")
        }
        _ => String::new(),
    }
}

/// Listens on all addresses, or says which cannot be had.
fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<Socket>, (SocketAddr, io::Error)> {
    let with_v4 = addresses.iter().any(SocketAddr::is_ipv4);
    let mut sockets = Vec::new();
    let mut port = 0;
    for &asked in addresses {
        let failed = |error| (asked, error);
        let mut address = asked;
        if address.port() == 0 {
            address.set_port(port);
        }
        let socket = match bind_one(address, with_v4) {
            Err(error) if is_v6_wildcard(address) && is_no_v6(&error) && with_v4 => {
                warn!(%address, %error, "this machine has no IPv6");
                continue;
            }
            Err(error) if is_v6_wildcard(address) && is_no_v6(&error) => {
                bind_one((Ipv4Addr::UNSPECIFIED, address.port()).into(), with_v4)
            }
            bound => bound,
        };
        let socket = socket.map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        port = bound.as_socket().map_or(port, |bound| bound.port());
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Listens on an address that nobody else may then have: no port is shared here.
fn bind_one(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6 || !address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn is_v6_wildcard(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// Whether an error says that the machine has no IPv6.
fn is_no_v6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn bound(addresses: &[&str]) -> Vec<TcpListener> {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        bind(&addresses).expect("the addresses are to be had")
    }

    fn port(listener: &TcpListener) -> u16 {
        listener.local_addr().expect("it is bound").port()
    }

    #[tokio::test]
    async fn every_address_is_listened_on_at_one_port() {
        let listeners = bound(&["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"]);
        assert_eq!(listeners.len(), 3);
        for last in 1..4 {
            TcpStream::connect(SocketAddr::from(([127, 0, 0, last], port(&listeners[0])))).expect("it listens");
        }
    }

    #[tokio::test]
    async fn the_wildcards_of_both_families_go_together() {
        for addresses in [&["[::]:0"][..], &["0.0.0.0:0", "[::]:0"], &["[::]:0", "127.0.0.1:0"]] {
            let listeners = bound(addresses);
            TcpStream::connect((Ipv4Addr::LOCALHOST, port(&listeners[0]))).expect("IPv4 is listened on");
        }
    }

    #[test]
    fn who_may_not_have_a_port_is_told_of_the_flag() {
        let told = advice(&io::ErrorKind::PermissionDenied.into(), "--http-port");
        assert!(told.contains("CAP_NET_BIND_SERVICE") && told.contains("--http-port"), "{told}");
        assert_eq!(advice(&io::ErrorKind::AddrInUse.into(), "--http-port"), "");
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_an_error_whatever_the_others_are() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = taken.local_addr().expect("it is bound");
        for bad in [taken, "192.0.2.1:0".parse().expect("an address")] {
            let error = bind(&["127.0.0.1:0".parse().expect("an address"), bad]).expect_err("one cannot be had");
            assert!(error.to_string().contains(&bad.to_string()), "{error}");
        }
    }
}
