//! Listening sockets: each worker has its own for every address, and the kernel spreads connections over them.
//!
//! With `SO_REUSEPORT` a connection is accepted by the worker that will serve it, and no worker wakes another. An
//! IPv6 wildcard address takes IPv4 as well; where the machine has no IPv6 the IPv4 wildcard stands in.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections the kernel keeps for a worker that is busy.
pub(crate) const BACKLOG: i32 = 8192;

/// How many bytes may wait in the kernel for a client, beyond those that are on their way. Left alone, it takes megabytes
/// for each client that does not read: a few hundred of them use up the memory that the whole machine has for TCP.
const UNSENT: u32 = 256 << 10;

/// How often another free port is tried, where one is free on the first address only.
const TRIES: usize = 10;

/// Binds each of `addresses` once for each of `count` workers. Port 0 is any free port, the same for all addresses.
///
/// # Errors
///
/// An address cannot be bound.
pub(crate) fn bind(addresses: &[SocketAddr], count: usize) -> io::Result<Vec<Vec<TcpListener>>> {
    let is_any = addresses.iter().any(|address| address.port() == 0);
    let mut tries = 1;
    loop {
        match bind_all(addresses, count) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_any && tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

fn bind_all(addresses: &[SocketAddr], count: usize) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut all: Vec<Vec<TcpListener>> = Vec::new();
    let mut port = 0;
    for &asked in addresses {
        let mut address = asked;
        if address.port() == 0 {
            address.set_port(port);
        }
        let bound = bind_each(address, count)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        port = bound[0].local_addr()?.port();
        all.push(bound);
    }
    Ok(all)
}

/// Binds an address once for each of `count` workers.
fn bind_each(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = bind_one(address).or_else(|error| match without_v6(address, &error) {
        Some(address) => bind_one(address),
        None => Err(error),
    })?;
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(bind_one(bound)?);
    }
    Ok(listeners)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it. Where the kernel has no such option, it keeps to its own limits.
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The address to listen on instead, where the machine has no IPv6.
fn without_v6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let no_v6 = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
    (no_v6 && address.is_ipv6() && address.ip().is_unspecified())
        .then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{Ipv6Addr, TcpStream},
    };

    use super::*;

    #[test]
    fn workers_and_addresses_share_a_free_port() {
        let listeners = bind(&[1, 2].map(|last| SocketAddr::from(([127, 0, 0, last], 0))), 3).unwrap();
        let ports: Vec<_> = listeners.iter().flatten().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 6);
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    #[test]
    fn what_a_client_does_not_read_waits_up_to_a_limit() {
        let listener = bind_each(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().remove(0);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut waiting = 0;
        while let Ok(sent) = stream.write(&[0; 16 << 10]) {
            waiting += sent;
        }
        // With what the client's own side of the kernel holds.
        assert!(waiting < 1 << 20, "{waiting} bytes");
    }

    #[test]
    fn the_wildcard_takes_both_families() {
        let listeners = bind_each(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), 1).unwrap();
        let bound = listeners[0].local_addr().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, bound.port())).unwrap();
        if bound.is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, bound.port())).unwrap();
        }
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        assert!(bind(&[SocketAddr::from(([192, 0, 2, 1], 0))], 1).is_err());
    }
}
