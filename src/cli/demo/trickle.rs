//! A trickle of requests, so that the demo has something to show.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::manifests::HOST;

/// The time from one request to the next.
const EVERY: Duration = Duration::from_millis(40);

/// Sends requests to the gateway for as long as it is polled, and connects again when it must.
pub(super) async fn send(gateway: SocketAddr) {
    let mut sent = 0_u64;
    loop {
        // The gateway says itself what it did not like; here nobody is to be told.
        let _ = send_on_one_connection(gateway, &mut sent).await;
        tokio::time::sleep(EVERY).await;
    }
}

async fn send_on_one_connection(gateway: SocketAddr, sent: &mut u64) -> Result<()> {
    let stream = TcpStream::connect(gateway).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    loop {
        let path = if sent.is_multiple_of(3) { "/cart" } else { "/" };
        let request = Request::get(path)
            .header(header::HOST, HOST)
            .header(header::USER_AGENT, "serin-demo")
            .header(header::COOKIE, format!("user={}", *sent % 100))
            .body(Empty::<Bytes>::new())?;
        *sent += 1;
        sender.ready().await?;
        sender.send_request(request).await?.into_body().collect().await?;
        tokio::time::sleep(EVERY).await;
    }
}
