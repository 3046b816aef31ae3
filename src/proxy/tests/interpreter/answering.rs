//! The endpoint's interpreter: requests to text, answers from it. Each stream has a text of its own.

use std::{future::poll_fn, io, net::TcpStream as Socket, pin::pin, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response, StatusCode, request::Parts};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::{
    Stream, awaited, pair,
    text::{Framing, Head, Reader, write_body, write_fields},
};

/// How long the rest of a request is still passed on when it was answered.
const AFTERWARDS: Duration = Duration::from_secs(5);

pub(super) async fn interpret(stream: impl Stream, run: impl Fn(Socket)) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (near, far) = pair();
        run(near);
        tokio::spawn(one(request, respond, awaited(far)));
    }
}

/// One stream. Where the endpoint ends its text before the answer is whole, the stream is reset.
async fn one(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, text: TcpStream) {
    let (read, mut out) = text.into_split();
    let mut reader = Reader::new(read);
    let (parts, mut body) = request.into_parts();
    let is_head = parts.method == "HEAD";
    let mut upload = pin!(async {
        let (head, framing) = head(&parts, body.is_end_stream());
        out.write_all(head.as_bytes()).await?;
        write_body(&mut body, framing, &mut out).await
    });
    let mut stream = None;
    let mut uploads = true;
    let answered = {
        let mut answering = pin!(answer(&mut reader, &mut respond, &mut stream, is_head));
        loop {
            tokio::select! {
                biased;
                answered = &mut answering => break answered,
                uploaded = &mut upload, if uploads => match uploaded {
                    Ok(()) => uploads = false,
                    Err(_) => return,
                },
            }
        }
    };
    match (answered, &mut stream) {
        (Ok(()), _) if uploads => drop(timeout(AFTERWARDS, upload).await),
        (Ok(()), _) => {}
        (Err(_), Some(stream)) => stream.send_reset(Reason::INTERNAL_ERROR),
        (Err(_), None) => respond.send_reset(Reason::INTERNAL_ERROR),
    }
}

/// The head of a request as text.
fn head(parts: &Parts, ends: bool) -> (String, Framing) {
    let path = parts.uri.path_and_query().unwrap();
    let authority = parts.uri.authority().unwrap();
    let mut text = format!("{} {path} HTTP/1.1\r\nHost: {authority}\r\n", parts.method);
    write_fields(&parts.headers, &mut text);
    let chunked = !ends && !parts.headers.contains_key("content-length");
    if chunked {
        text += "Transfer-Encoding: chunked\r\n";
    }
    (text + "\r\n", if chunked { Framing::Chunked } else { Framing::Raw })
}

/// Sends the answer of the endpoint.
async fn answer(
    reader: &mut Reader,
    respond: &mut SendResponse<Bytes>,
    stream: &mut Option<SendStream<Bytes>>,
    is_head: bool,
) -> io::Result<()> {
    let head = loop {
        let head = tokio::select! {
            head = reader.head() => head?,
            _ = poll_fn(|cx| respond.poll_reset(cx)) => None,
        };
        let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
        if status(&head).as_u16() >= 200 {
            break head;
        }
        respond.send_informational(response(&head)).map_err(io::Error::other)?;
    };
    let bodiless = is_head || [204, 304].contains(&status(&head).as_u16());
    let framing = head.framing().unwrap_or(Framing::Raw);
    let ends = bodiless || framing == Framing::Length(0);
    let out = stream.insert(respond.send_response(response(&head), ends).map_err(io::Error::other)?);
    if ends {
        return Ok(());
    }
    reader.send_body(framing, out).await
}

fn status(head: &Head) -> StatusCode {
    head.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap()
}

fn response(head: &Head) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status(head);
    *response.headers_mut() = head.fields();
    response
}
