//! Tunnels in streams (RFC 8441), to endpoints that speak HTTP/1.

use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;

use super::{
    super::streams::{Client, read, request, run, send},
    harness::*,
};

#[test]
fn a_tunnel_ends_from_either_side_and_not_with_the_other() {
    let endpoint = Endpoint::run(|_, mut line| {
        let head = line.read().unwrap().head;
        line.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        if head.starts_with("GET /endpoint") {
            line.send("bye");
            line.shutdown();
            assert_eq!(line.rest(), b"after");
        } else {
            assert_eq!(line.rest(), b"bye");
            line.send("after");
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = Client::to(&gateway);
    run(async {
        client.sender = client.sender.clone().ready().await.unwrap();
        while !client.sender.is_extended_connect_protocol_enabled() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for first in ["/endpoint", "/client"] {
            let mut upgrade = request("CONNECT", first);
            upgrade.extensions_mut().insert(Protocol::from_static("websocket"));
            let (response, mut stream) = client.begin(upgrade, false).await;
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            let mut body = response.into_body();
            if first == "/endpoint" {
                assert_eq!(read(&mut body).await.unwrap().0, b"bye");
                send(&mut stream, "after").await.unwrap();
                stream.send_data(Bytes::new(), true).unwrap();
            } else {
                send(&mut stream, "bye").await.unwrap();
                stream.send_data(Bytes::new(), true).unwrap();
                assert_eq!(read(&mut body).await.unwrap().0, b"after");
            }
        }
    });
    wait_until("both have ended", || endpoint.ended() == 2);
}
