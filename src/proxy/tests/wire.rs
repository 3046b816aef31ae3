//! A socket with or without TLS, for threads that wait.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::harness::GENEROUS;
use crate::tls::{provider, testing};

/// A socket.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Tls),
}

/// A client's socket with TLS. Copies are the same connection; one may read while another writes.
#[derive(Clone)]
pub(super) struct Tls {
    socket: Arc<TcpStream>,
    session: Arc<Mutex<ClientConnection>>,
    /// What came and was not taken apart: a session takes no more while what it has is not read.
    ahead: Arc<Mutex<Vec<u8>>>,
    /// Held from making records until they are sent, so that they go out in order.
    sending: Arc<Mutex<()>>,
}

/// What clients are set up with: they trust the tests' authority, and resume no session.
pub(super) fn client_config() -> ClientConfig {
    client_config_by(provider(), rustls::DEFAULT_VERSIONS)
}

pub(super) fn client_config_by(
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(testing::authority().certificate().as_bytes());
    roots.add(authority.unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config
}

// === impl Wire ===

impl Wire {
    /// Begins TLS as a client that asks for `shop.example`.
    pub(super) fn tls(socket: TcpStream) -> Self {
        static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        let config = CONFIG.get_or_init(|| Arc::new(client_config())).clone();
        Self::tls_with(socket, config, "shop.example")
    }

    pub(super) fn tls_with(socket: TcpStream, config: Arc<ClientConfig>, server_name: &str) -> Self {
        socket.set_read_timeout(Some(GENEROUS)).unwrap();
        let session = ClientConnection::new(config, server_name.to_owned().try_into().unwrap()).unwrap();
        let tls = Tls {
            socket: Arc::new(socket),
            session: Arc::new(Mutex::new(session)),
            ahead: Arc::default(),
            sending: Arc::default(),
        };
        // Before anybody else has it: two threads could not make one handshake. Where it fails, reading fails, too.
        let _ = tls.shake_hands();
        Self::Tls(tls)
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    pub(super) fn session(&self) -> std::sync::MutexGuard<'_, ClientConnection> {
        match self {
            Self::Plain(_) => panic!("there is no TLS"),
            Self::Tls(tls) => tls.session.lock().unwrap(),
        }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Plain(socket) => Self::Plain(socket.try_clone()?),
            Self::Tls(tls) => Self::Tls(tls.clone()),
        })
    }

    pub(super) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket().set_nodelay(nodelay)
    }

    pub(super) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket().set_write_timeout(timeout)
    }

    /// Says that nothing more will be sent.
    pub(super) fn shutdown(&self) {
        if let Self::Tls(tls) = self {
            let _ = tls.send(|session| {
                session.send_close_notify();
                Ok(())
            });
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Tls ===

impl Tls {
    fn shake_hands(&self) -> io::Result<()> {
        self.send(|_| Ok(()))?;
        while self.session.lock().unwrap().is_handshaking() {
            self.receive()?;
            self.send(|_| Ok(()))?;
        }
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.send(|_| Ok(()))?;
            match self.session.lock().unwrap().reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.receive()?;
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        // No more than is sent at once: what a session holds back would look as if it had been sent.
        let bytes = &bytes[..bytes.len().min(16 << 10)];
        self.send(|session| session.writer().write_all(bytes))?;
        Ok(bytes.len())
    }

    /// Lets the session make records, and sends them.
    fn send(&self, make: impl FnOnce(&mut ClientConnection) -> io::Result<()>) -> io::Result<()> {
        let _sending = self.sending.lock().unwrap();
        let mut records = Vec::new();
        {
            let mut session = self.session.lock().unwrap();
            make(&mut session)?;
            while session.wants_write() {
                session.write_tls(&mut records)?;
            }
        }
        (&*self.socket).write_all(&records)
    }

    /// Takes bytes apart until there is something to read, and waits for them where there are none.
    fn receive(&self) -> io::Result<()> {
        let mut ahead = self.ahead.lock().unwrap();
        if ahead.is_empty() {
            let mut bytes = [0; 16 << 10];
            let count = (&*self.socket).read(&mut bytes)?;
            ahead.extend_from_slice(&bytes[..count]);
        }
        let mut session = self.session.lock().unwrap();
        let mut rest = &ahead[..];
        loop {
            session.read_tls(&mut rest)?;
            match session.process_new_packets() {
                Ok(state) if rest.is_empty() || state.plaintext_bytes_to_read() > 0 => break,
                Ok(_) => {}
                Err(error) => {
                    let mut alert = Vec::new();
                    let _ = session.write_tls(&mut alert);
                    let _ = (&*self.socket).write_all(&alert);
                    return Err(io::Error::new(ErrorKind::InvalidData, error));
                }
            }
        }
        let taken = ahead.len() - rest.len();
        ahead.drain(..taken);
        if taken == 0 && session.is_handshaking() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
