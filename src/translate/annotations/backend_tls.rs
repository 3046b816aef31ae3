//! The annotations of TLS to endpoints.

use std::sync::Arc;

use super::{Annotation, Group::BackendTls, Kind, Risk, Typed, value};
use crate::tls::client::is_name;

pub(super) const RECORDS: &[&Annotation] = &[
    &PROXY_SSL_SECRET.annotation,
    &PROXY_SSL_VERIFY.annotation,
    &PROXY_SSL_VERIFY_DEPTH.annotation,
    &PROXY_SSL_NAME.annotation,
    &PROXY_SSL_SERVER_NAME.annotation,
    &PROXY_SSL_PROTOCOLS.annotation,
    &PROXY_SSL_CIPHERS,
];

/// The versions that ingress-nginx knows, oldest first.
pub(in crate::translate) const VERSIONS: &[&str] = &["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// The name of an object, and its namespace where that is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::translate) struct ObjectName {
    pub(in crate::translate) namespace: Option<Arc<str>>,
    pub(in crate::translate) name: Arc<str>,
}

pub(in crate::translate) static PROXY_SSL_SECRET: Typed<ObjectName> = Typed::new(
    Annotation::new("proxy-ssl-secret", BackendTls, Kind::Object).risk(Risk::Medium).doc(
        "The Secret for TLS to the endpoints of the Ingress, in its namespace: authorities (`ca.crt`), a certificate \
         for the gateway (`tls.crt`, `tls.key`), or both. The other annotations of this group have no effect without \
         it. Paths of the host that are another Ingress's are not touched, which they are by ingress-nginx.",
    ),
    object_name,
);

pub(in crate::translate) static PROXY_SSL_VERIFY: Typed<bool> = Typed::new(
    Annotation::new("proxy-ssl-verify", BackendTls, Kind::Choice(&["on", "off"])).default("off").doc(
        "Whether the certificate of an endpoint must come from an authority in the Secret. Without one nothing is \
         sent, where ingress-nginx would not verify.",
    ),
    on_off,
);

pub(in crate::translate) static PROXY_SSL_VERIFY_DEPTH: Typed<u8> = Typed::new(
    Annotation::new("proxy-ssl-verify-depth", BackendTls, Kind::Number)
        .default("1")
        .doc("How many certificates may be between the endpoint's and the authority's, at most 6."),
    |text| match value::count(text)? {
        // As in ingress-nginx.
        0 => Ok(1),
        depth => Ok(u8::try_from(depth).unwrap_or(u8::MAX)),
    },
);

pub(in crate::translate) static PROXY_SSL_NAME: Typed<Arc<str>> = Typed::new(
    Annotation::new("proxy-ssl-name", BackendTls, Kind::Host)
        .risk(Risk::High)
        .partly("variables are not replaced, since a client must not choose who is believed.")
        .doc(
            "The name that the certificate of an endpoint must have where it is verified, and that is sent where \
             `proxy-ssl-server-name` is on. Where it is not set, any name will do; ingress-nginx asks for \
             `upstream_balancer`, which no certificate has.",
        ),
    |text| {
        if text.contains('$') {
            Err("contains `$`, and variables are not replaced here".to_owned())
        } else if is_name(text) {
            Ok(text.to_ascii_lowercase().into())
        } else {
            Err("is neither a DNS name nor an address".to_owned())
        }
    },
);

pub(in crate::translate) static PROXY_SSL_SERVER_NAME: Typed<bool> = Typed::new(
    Annotation::new("proxy-ssl-server-name", BackendTls, Kind::Choice(&["on", "off"]))
        .default("off")
        .doc("Whether `proxy-ssl-name` is sent to the endpoint (SNI)."),
    on_off,
);

/// Whether each of [`VERSIONS`] is written.
pub(in crate::translate) static PROXY_SSL_PROTOCOLS: Typed<[bool; VERSIONS.len()]> = Typed::new(
    Annotation::new("proxy-ssl-protocols", BackendTls, Kind::Words(VERSIONS))
        .default("TLSv1.2 TLSv1.3")
        .partly("`TLSv1.2` and `TLSv1.3`; where it is not set, both, and in ingress-nginx only the former.")
        .doc("The versions of TLS that are offered to endpoints."),
    |text| {
        let mut written = [false; VERSIONS.len()];
        for word in text.split_whitespace() {
            match VERSIONS.iter().position(|version| *version == word) {
                Some(at) => written[at] = true,
                None => return Err(format!("contains `{word}`, which is no version that is known")),
            }
        }
        Ok(written)
    },
);

static PROXY_SSL_CIPHERS: Annotation = Annotation::new("proxy-ssl-ciphers", BackendTls, Kind::Text)
    .default("DEFAULT")
    .risk(Risk::Medium)
    .differs("The suites are those of rustls, of which none is weak: AEAD with forward secrecy")
    .doc("The ciphers for TLS to endpoints.");

/// `shop/ca`, or `ca`.
fn object_name(text: &str) -> Result<ObjectName, value::Fault> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    let valid = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
    };
    if !valid(name) || !namespace.is_none_or(valid) {
        return Err("is no name of an object".to_owned());
    }
    Ok(ObjectName { namespace: namespace.map(Arc::from), name: name.into() })
}

fn on_off(text: &str) -> Result<bool, value::Fault> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is neither `on` nor `off`".to_owned()),
    }
}
