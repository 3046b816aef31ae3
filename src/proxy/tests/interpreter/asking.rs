//! The client's interpreter: requests from text, answers to it.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::{SendStream, client::ResponseFuture, ext::Protocol};
use http::{Method, Request, Response, StatusCode, Uri};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    Stream,
    text::{Framing, Head, Reader, write_body, write_fields},
};

/// How long the text of a client is still read when its answer broke off.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What a request is, besides its head in frames.
struct Asked {
    framing: Framing,
    has_body: bool,
    is_head: bool,
    /// The protocol to switch to.
    upgrade: Option<String>,
}

/// How a request was answered.
enum Answered {
    Plainly,
    /// The protocol was switched, and the tunnel has ended.
    Switched,
    /// The protocol was not switched.
    Declined,
}

/// Why no more of a request is sent.
enum Stopped {
    /// The client has left.
    Left,
    /// The gateway takes no more.
    Broken,
}

pub(super) async fn interpret(text: TcpStream, stream: impl Stream + 'static, tls: bool) {
    let (read, mut out) = text.into_split();
    let mut reader = Reader::new(read);
    let Ok((mut sender, connection)) = h2::client::handshake(stream).await else { return };
    let (ending, mut ended) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let _ = connection.await;
        drop(ending);
    });
    loop {
        let head = tokio::select! {
            head = reader.head() => head,
            _ = &mut ended => return,
        };
        let Ok(Some(head)) = head else { return };
        let (request, asked) = request(&head, tls);
        while asked.upgrade.is_some() && !sender.is_extended_connect_protocol_enabled() {
            sleep(Duration::from_millis(1)).await;
        }
        sender = match sender.ready().await {
            Ok(sender) => sender,
            Err(_) => return,
        };
        let Ok((response, stream)) = sender.send_request(request, !asked.has_body) else { return };
        let sent = AtomicBool::new(false);
        let goes_on = {
            let mut upload = pin!(upload(&mut reader, stream, &asked, &sent));
            let mut download = pin!(download(response, &mut out, &asked));
            let mut uploads = true;
            let answered = loop {
                tokio::select! {
                    biased;
                    answered = &mut download => break answered,
                    stopped = &mut upload, if uploads => match stopped {
                        Stopped::Left => return,
                        Stopped::Broken => uploads = false,
                    },
                }
            };
            match answered {
                Ok(Answered::Declined) => true,
                Ok(_) if uploads && !sent.load(Relaxed) => {
                    upload.await;
                    false
                }
                Ok(_) => sent.load(Relaxed),
                Err(_) => false,
            }
        };
        if !goes_on || head.field("connection") == Some("close") {
            let _ = out.shutdown().await;
            let _ = timeout(AFTERWARDS, reader.end()).await;
            return;
        }
    }
}

/// A request in frames.
fn request(head: &Head, tls: bool) -> (Request<()>, Asked) {
    let mut words = head.first.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let framing = head.framing();
    let upgrade = head.field("upgrade").map(str::to_owned);
    let asked = Asked {
        framing: if upgrade.is_some() { Framing::Raw } else { framing.unwrap_or(Framing::Length(0)) },
        has_body: upgrade.is_some() || framing.is_some_and(|framing| framing != Framing::Length(0)),
        is_head: method == "HEAD",
        upgrade,
    };
    let uri = Uri::builder().scheme(if tls { "https" } else { "http" }).path_and_query(target);
    let mut request = Request::new(());
    *request.uri_mut() = uri.authority(head.field("host").unwrap()).build().unwrap();
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.headers_mut() = head.fields();
    if let Some(protocol) = &asked.upgrade {
        *request.method_mut() = Method::CONNECT;
        request.headers_mut().remove("sec-websocket-key");
        request.extensions_mut().insert(Protocol::from(&**protocol));
    }
    (request, asked)
}

/// Sends the body, then waits for the client to leave.
async fn upload(reader: &mut Reader, mut stream: SendStream<Bytes>, asked: &Asked, sent: &AtomicBool) -> Stopped {
    if asked.has_body {
        match reader.send_body(asked.framing, &mut stream).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Stopped::Left,
            Err(_) => return Stopped::Broken,
        }
    }
    sent.store(true, Relaxed);
    if asked.upgrade.is_none() {
        reader.end().await;
        return Stopped::Left;
    }
    // The stream is kept: to let go of it would end the other direction, too.
    std::future::pending().await
}

/// Writes the answer.
async fn download(mut response: ResponseFuture, out: &mut OwnedWriteHalf, asked: &Asked) -> io::Result<Answered> {
    let answer = loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
                return Poll::Ready(Ok(Err(interim)));
            }
            Pin::new(&mut response).poll(cx).map_ok(Ok)
        });
        match next.await.map_err(io::Error::other)? {
            Ok(answer) => break answer,
            Err(interim) => out.write_all((text(&interim) + "\r\n").as_bytes()).await?,
        }
    };
    let (mut answer, mut body) = {
        let (parts, body) = answer.into_parts();
        (Response::from_parts(parts, ()), body)
    };
    let status = answer.status();
    let switched = asked.upgrade.as_ref().filter(|_| status == StatusCode::OK);
    let mut framing = Framing::Raw;
    let mut added = String::from("\r\n");
    if let Some(protocol) = switched {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        added = format!("Connection: upgrade\r\nUpgrade: {protocol}\r\n\r\n");
    } else if !asked.is_head
        && ![204, 304].contains(&status.as_u16())
        && !answer.headers().contains_key("content-length")
    {
        framing = Framing::Chunked;
        added = "Transfer-Encoding: chunked\r\n\r\n".into();
    }
    out.write_all((text(&answer) + &added).as_bytes()).await?;
    write_body(&mut body, framing, out).await?;
    if switched.is_some() {
        out.shutdown().await?;
    }
    Ok(match (&asked.upgrade, switched) {
        (None, _) => Answered::Plainly,
        (_, Some(_)) => Answered::Switched,
        (_, None) => Answered::Declined,
    })
}

/// The head of an answer, but for its last line.
fn text(answer: &Response<()>) -> String {
    let status = answer.status();
    let mut text = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    write_fields(answer.headers(), &mut text);
    text
}
