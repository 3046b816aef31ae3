//! Connections that begin with a PROXY header, by which a load balancer says who is behind it.
//!
//! Where the operator asks for it, every connection has to begin with one; else whoever reaches the port could do
//! without. It is believed where its sender is among the trusted proxies, and passed over where not, as nginx does.
//!
//! Exactly the header is taken from the socket: what follows may be a TLS handshake. So the bytes are looked at first,
//! and taken once they are known to belong to it.

use std::{io, net::IpAddr, rc::Rc};

use tokio::net::TcpStream;
use tracing::debug;

use super::{
    caller::{Caller, Door},
    connect::Connect,
    timer::{Idleness, until_fired},
    worker::Worker,
};
use crate::{
    http::proxy_protocol::{ProxyHeader, ROOM},
    metrics::Count,
};

/// Why a connection is not introduced.
#[derive(Debug, thiserror::Error)]
enum NotIntroduced {
    /// It ended before its first byte, as those of health checks do.
    #[error("it was only opened")]
    Unused,
    #[error("it does not begin with a PROXY header")]
    BadHeader,
    #[error("it ended within its PROXY header")]
    Ended,
    #[error("its PROXY header took too long")]
    TimedOut,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Takes the PROXY header off a connection from `peer`, and returns who is behind it. None where there is no good
/// header: the connection must then be closed.
pub(crate) async fn introduce<C: Connect>(
    worker: &Worker<C>,
    door: Rc<Door>,
    peer: IpAddr,
    stream: &TcpStream,
) -> Option<Caller> {
    match read(worker, stream).await {
        Ok(header) => {
            let believed = header.addresses.filter(|_| worker.config.trust.proxies.contains(peer));
            Some(match believed {
                Some((client, destination)) => Caller::introduced(door, client.ip(), destination.port()),
                None => Caller::new(door, peer),
            })
        }
        Err(NotIntroduced::Unused) => None,
        Err(why) => {
            worker.meters.count(Count::BadIntroductions);
            debug!(%peer, %why, "a connection is closed");
            None
        }
    }
}

/// Takes a header off the socket, in the time that there is for it.
async fn read<C: Connect>(worker: &Worker<C>, stream: &TcpStream) -> Result<ProxyHeader, NotIntroduced> {
    let timer = worker.clock.timer();
    timer.wake_this_task().await;
    timer.set(worker.config.proxy_header_timeout);
    timer.set_idleness(Idleness::Fresh);
    until_fired(&timer, take(stream)).await.unwrap_or(Err(NotIntroduced::TimedOut))
}

/// Takes a header off the socket.
async fn take(stream: &TcpStream) -> Result<ProxyHeader, NotIntroduced> {
    let mut bytes = vec![0; ROOM];
    let mut taken = 0;
    loop {
        let seen = taken + stream.peek(&mut bytes[taken..]).await?;
        if seen == taken {
            return Err(if taken == 0 { NotIntroduced::Unused } else { NotIntroduced::Ended });
        }
        let header = ProxyHeader::read(&bytes[..seen]).map_err(|_| NotIntroduced::BadHeader)?;
        // What is of an unfinished header is taken, or the socket would go on being readable with the same bytes.
        let end = header.map_or(seen, |header| header.length);
        while taken < end {
            match stream.try_read(&mut bytes[taken..end]) {
                Ok(0) => return Err(NotIntroduced::Ended),
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        match header {
            Some(header) => return Ok(header),
            None if taken == bytes.len() => return Err(NotIntroduced::BadHeader),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::yield_now,
    };

    use super::*;

    #[tokio::test]
    async fn exactly_the_header_is_taken_and_nobody_spins_over_a_piece_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("the listener is there");
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut polls = 0;
        let header = {
            let mut taking = pin!(take(&stream));
            let mut pieces = ["PROXY TCP4 192.0.2.1", " 198.51.100.1 50", "00 443\r\nhello"].into_iter();
            loop {
                // Time enough for hundreds of looks, if somebody went on looking.
                let polled = tokio::time::timeout(
                    std::time::Duration::from_millis(50),
                    poll_fn(|cx| {
                        polls += 1;
                        taking.as_mut().poll(cx)
                    }),
                );
                match (polled.await, pieces.next()) {
                    (Ok(header), None) => break header.expect("the header is good"),
                    (Err(_), Some(piece)) => client.write_all(piece.as_bytes()).await.expect("it is open"),
                    (polled, piece) => panic!("{polled:?} before {piece:?}"),
                }
                yield_now().await;
            }
        };
        assert_eq!(header.addresses.map(|(client, _)| client), Some(([192, 0, 2, 1], 5000).into()));
        assert!(polls < 20, "{polls} looks");
        let mut rest = [0; 5];
        stream.read_exact(&mut rest).await.expect("the rest is there");
        assert_eq!(&rest, b"hello");
    }
}
