//! The endpoint behind all proxies: answers `GET /<n>` with `n` bytes, as cheaply as can be, and takes whatever a `POST`
//! brings without an answer.

use std::{cell::RefCell, collections::HashMap, env, io, net::SocketAddr, rc::Rc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    Result,
    process::{Process, pinned, wait_for},
};

/// What was answered, by path: connections share it, so that a thousand large answers take the memory of one.
type Answers = Rc<RefCell<HashMap<String, Rc<[u8]>>>>;

/// Starts this program on core 1, with what lets its `main` call [`serve`].
pub fn start(address: SocketAddr, wrap: &[&str]) -> Result<Process> {
    let mut command = pinned(1, wrap);
    command.arg(env::current_exe()?).args(["endpoint", &address.port().to_string()]);
    let process = Process(command.spawn()?);
    wait_for(address)?;
    Ok(process)
}

/// Serves for ever.
pub fn serve(port: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let answers = Answers::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(answer(stream, Rc::clone(&answers)));
        }
    })
}

async fn answer(mut stream: TcpStream, answers: Answers) -> io::Result<()> {
    let mut request = Vec::with_capacity(4096);
    let mut answer = Rc::default();
    let mut answered = String::new();
    loop {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        if request.starts_with(b"POST") {
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            return Ok(());
        }
        let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let path = String::from_utf8_lossy(path);
        if path != answered {
            answered = path.into_owned();
            answer = Rc::clone(answers.borrow_mut().entry(answered.clone()).or_insert_with(|| answer_to(&answered)));
        }
        stream.write_all(&answer).await?;
    }
}

fn answer_to(path: &str) -> Rc<[u8]> {
    let size: usize = path.trim_start_matches('/').parse().unwrap_or(0);
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
         Content-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    );
    [head.as_bytes(), &vec![b'x'; size]].concat().into()
}
