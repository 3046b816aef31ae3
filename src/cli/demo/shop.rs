//! The shop of the demo: small HTTP servers on loopback, one for each endpoint.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// An endpoint of the shop that is being served.
#[derive(Debug)]
pub(super) struct ShopEndpoint {
    /// Its name in answers: `stable-1`.
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
}

/// Serves an endpoint on a free loopback port until the runtime ends.
pub(super) async fn serve(name: &'static str) -> Result<ShopEndpoint> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on loopback")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(name, &request)) });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(ShopEndpoint { name, address })
}

/// Says which endpoint answers, and what it was asked.
fn answer(name: &'static str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let body = format!("{name} {} {}\n", request.method(), request.uri());
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert("x-served-by", header::HeaderValue::from_static(name));
    response
}
