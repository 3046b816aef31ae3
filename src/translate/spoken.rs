//! How the endpoints of an Ingress are spoken to: `backend-protocol` and `proxy-ssl-*`.
//!
//! As in ingress-nginx, `proxy-ssl-*` has no effect without `proxy-ssl-secret`, nobody is verified and no name is sent
//! unless that is asked for. Each of these is told, since an endpoint that is not verified is whoever answers.

use crate::{
    key::SecretKey,
    problem::{Level, Reason},
    route::{BackendProtocol, BackendTls, Policy, TlsVersions},
};

use super::{
    annotations::{self as known, Found, ObjectName, Reader, VERSIONS, WrittenProtocol},
    settings::{Idle, tell_idle},
};

/// What follows for paths whose endpoints cannot be spoken to as the Ingress wants.
const CLOSED: &str = "The paths of the Ingress are closed: they answer 503";

/// What an Ingress says of the way to its endpoints.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    protocol: Option<BackendProtocol>,
    tls: BackendTls,
    /// Whether its endpoints cannot be spoken to as it wants.
    pub(super) closed: bool,
}

// === impl Spoken ===

impl Spoken {
    /// Reads what the annotations of an Ingress say.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut spoken = Self::default();
        match reader.get(&known::BACKEND_PROTOCOL) {
            Some(WrittenProtocol::Spoken(protocol)) => spoken.protocol = Some(protocol),
            Some(WrittenProtocol::Fcgi) => spoken.refuse_fastcgi(reader),
            None => {}
        }
        match reader.set(&known::PROXY_SSL_SECRET.annotation) {
            Some(found) => spoken.read_tls(reader, found),
            None => tell_without_secret(reader),
        }
        spoken.tell_unverified(reader);
        spoken
    }

    /// Writes it into the policy of the Ingress.
    pub(super) fn apply(self, policy: &mut Policy) {
        policy.backend_protocol = self.protocol;
        policy.backend_tls = self.tls;
    }

    fn refuse_fastcgi(&mut self, reader: &mut Reader<'_>) {
        self.closed = true;
        if let Some(found) = reader.set(&known::BACKEND_PROTOCOL.annotation) {
            reader.tell(
                found,
                Level::Error,
                Reason::Refused,
                "`FCGI` is refused: Serin does not speak FastCGI",
                CLOSED,
                "Put an HTTP server in the pod, before the application, and remove it",
            );
        }
    }

    fn read_tls(&mut self, reader: &mut Reader<'_>, secret: Found<'_>) {
        match secret_key(reader, secret) {
            Ok(key) => self.tls.secret = key,
            // Without it nothing would be verified, and nobody would know the gateway.
            Err(()) => self.closed = true,
        }
        let tls = &mut self.tls;
        tls.verify = reader.get_or(&known::PROXY_SSL_VERIFY, false);
        tls.depth = reader.get_or(&known::PROXY_SSL_VERIFY_DEPTH, tls.depth);
        tls.server_name = reader.get_or(&known::PROXY_SSL_SERVER_NAME, false);
        tls.versions = versions(reader);
        // Where endpoints are to be verified, a name that cannot be read is not any name.
        let name = if tls.verify {
            reader.require(&known::PROXY_SSL_NAME, CLOSED)
        } else {
            Ok(reader.get(&known::PROXY_SSL_NAME))
        };
        match name {
            Ok(name) => tls.name = name,
            Err(()) => self.closed = true,
        }
        self.tell_idle(reader);
    }

    /// Tells what has no effect, beside a Secret.
    fn tell_idle(&self, reader: &mut Reader<'_>) {
        let tls = &self.tls;
        if !tls.verify {
            tell_idle(reader, &known::PROXY_SSL_VERIFY_DEPTH.annotation, Idle::Without("proxy-ssl-verify: \"on\""));
        }
        if tls.server_name && tls.name.is_none() {
            tell_idle(reader, &known::PROXY_SSL_SERVER_NAME.annotation, Idle::Without("proxy-ssl-name"));
        }
        if tls.name.is_some() && !tls.verify && !tls.server_name {
            let without = "proxy-ssl-verify: \"on\"` or `proxy-ssl-server-name: \"on\"";
            tell_idle(reader, &known::PROXY_SSL_NAME.annotation, Idle::Without(without));
        }
    }

    /// Tells in which way endpoints are believed that may not be what they seem.
    fn tell_unverified(&self, reader: &mut Reader<'_>) {
        if self.closed {
            return;
        }
        let tls =
            matches!(self.protocol, Some(BackendProtocol::Https | BackendProtocol::Grpcs | BackendProtocol::AutoHttp));
        if let Some(found) = reader.set(&known::BACKEND_PROTOCOL.annotation).filter(|_| tls && !self.tls.verify) {
            reader.tell(
                found,
                Level::Warning,
                Reason::Unsafe,
                "The certificates of the endpoints are not verified",
                UNVERIFIED,
                VERIFY,
            );
        }
        let verify = reader.set(&known::PROXY_SSL_VERIFY.annotation);
        if let Some(found) = verify.filter(|_| self.tls.verify && self.tls.name.is_none()) {
            reader.tell(
                found,
                Level::Warning,
                Reason::Unsafe,
                "No name is asked for: any certificate of the authorities will do",
                "Whoever has another's certificate of these authorities can answer in the place of an endpoint",
                "Write `proxy-ssl-name`, the name that the endpoints' certificates are for",
            );
        }
    }
}

/// What follows where nobody is verified.
pub(super) const UNVERIFIED: &str = "Whoever can answer in the place of an endpoint can read and change what is said";

/// How to verify.
pub(super) const VERIFY: &str = "Write `proxy-ssl-secret`, a Secret with the authority of the certificates (`ca.crt`), and `proxy-ssl-verify: \"on\"`";

/// The Secret that is named; an error where it cannot be used, which is told.
fn secret_key(reader: &mut Reader<'_>, found: Found<'_>) -> Result<Option<SecretKey>, ()> {
    let own = reader.namespace();
    match reader.require(&known::PROXY_SSL_SECRET, CLOSED)? {
        Some(ObjectName { namespace: Some(other), .. }) if other != own => {
            reader.tell(
                found,
                Level::Error,
                Reason::Refused,
                format!("The Secret is in the namespace `{other}`, and the Ingress is not"),
                CLOSED,
                format!("Copy the Secret to the namespace `{own}`, and name it there"),
            );
            Err(())
        }
        written => Ok(written.map(|written| SecretKey { namespace: own, name: written.name })),
    }
}

/// The versions that are written and known here; both where there are none.
fn versions(reader: &mut Reader<'_>) -> TlsVersions {
    let Some(written) = reader.get(&known::PROXY_SSL_PROTOCOLS) else { return TlsVersions::default() };
    let [old @ .., tls12, tls13] = written;
    let former: Vec<_> = VERSIONS.iter().zip(old).filter(|(_, is)| *is).map(|(name, _)| format!("`{name}`")).collect();
    let (versions, effect) = match (tls12, tls13) {
        (true, false) => (TlsVersions::Only12, "The others are offered"),
        (false, true) => (TlsVersions::Only13, "The others are offered"),
        (true, true) => (TlsVersions::Both, "The others are offered"),
        (false, false) => (TlsVersions::Both, "The default applies: `TLSv1.2 TLSv1.3`"),
    };
    let found = reader.set(&known::PROXY_SSL_PROTOCOLS.annotation);
    if let Some(found) = found.filter(|_| !former.is_empty()) {
        reader.tell(
            found,
            if tls12 || tls13 { Level::Warning } else { Level::Error },
            Reason::Unsupported,
            format!("{} can be broken, so nothing here speaks it", former.join(", ")),
            effect,
            "Write `TLSv1.2`, `TLSv1.3` or both, with a space between",
        );
    }
    versions
}

/// Tells which annotations have no effect since there is no Secret.
fn tell_without_secret(reader: &mut Reader<'_>) {
    // What differs is told anyway.
    let differs = |found: &Found<'_>| matches!(found.annotation.support, known::Support::Differs(_));
    let of_tls = |found: &&Found<'_>| found.annotation.group == known::Group::BackendTls && !differs(found);
    let idle: Vec<_> = reader.found().iter().filter(of_tls).map(|found| found.annotation).collect();
    for annotation in idle {
        tell_idle(reader, annotation, Idle::Without("proxy-ssl-secret"));
    }
}
