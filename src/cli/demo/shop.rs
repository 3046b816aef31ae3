//! The shop of the demo: small servers on loopback, one for each endpoint, for HTTP and for calls of gRPC.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::{Body, Bytes, Incoming},
    header::{self, HeaderValue},
    http::uri::PathAndQuery,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

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
            tokio::spawn(async move {
                let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(name, &request)) });
                // Who comes by HTTP/2 says so in the first bytes.
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(ShopEndpoint { name, address })
}

/// Says which endpoint answers, and what it was asked.
fn answer(
    name: &'static str,
    request: &Request<Incoming>,
) -> Response<impl Body<Data = Bytes, Error: Into<BoxError>> + use<>> {
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let text = format!("{name} {} {target}\n", request.method());
    let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let (content_type, body) = if content_type.starts_with(b"application/grpc") {
        ("application/grpc", Either::Left(message(&text).with_trailers(async { Some(Ok(good())) })))
    } else {
        ("text/plain; charset=utf-8", Either::Right(Full::new(Bytes::from(text))))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert("x-served-by", HeaderValue::from_static(name));
    response
}

/// A message of gRPC that is nothing but text: whether it is compressed, how long it is, itself.
fn message(text: &str) -> Full<Bytes> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    Full::new(Bytes::from([&[0], &length[..], text.as_bytes()].concat()))
}

/// The trailers of a call that went well.
fn good() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}
