//! From the `tls` sections of Ingresses to certificates.
//!
//! As in ingress-nginx, the oldest Ingress that has a rule for a host and any `tls` section decides: the Secret of the
//! entry that lists the host; where none does, the first listed Secret whose certificate is valid for it; else the default
//! certificate. A Secret is always one of the Ingress's own namespace.
//!
//! Beyond ingress-nginx, one host may have a certificate for each kind of key: further entries that list the host add
//! theirs, also those of other Ingresses of the same namespace. Ingresses of other namespaces cannot: who shares a host
//! must not choose what its clients are shown.
//!
//! Dates are not judged here; see [`validity_problem`].

use std::sync::Arc;

use serde::Serialize;

use crate::{
    api::{Ingress, IngressTLS, Secret},
    key::{Hostname, ObjectKey, SecretKey},
    problem::{Level, Problem, Reason},
    store::{Observed, Snapshot},
    tls::{self, Certificate, Date, InvalidCertificate, Validity},
};

use super::{
    Options, Read,
    host::{Pass, Seen},
    hosts::rules_of,
};

/// The types that a Secret with a certificate may have. An empty one is `Opaque`.
const TYPES: [&str; 3] = ["kubernetes.io/tls", "Opaque", ""];

/// From how many days before its end on a certificate is told of.
const SOON: i64 = 14;

/// A Secret that a host is to be served with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    pub secret: SecretKey,
    /// None where the Secret cannot serve, or not for this host: whoever has a former certificate of it keeps that.
    pub certificate: Option<Arc<Certificate>>,
    /// The Ingress that names the Secret; none for the default certificate.
    pub ingress: Option<ObjectKey>,
    pub by: ChosenBy,
}

/// Why a Secret serves a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChosenBy {
    /// An entry lists the host.
    Listed,
    /// No entry does, and the certificate is valid for the host.
    Covered,
    /// It lists the host as well, and has another kind of key.
    OtherKey,
    /// Another host that this is an alias or the `www.` twin of is served with it.
    Related,
    /// It is the default certificate (`--default-ssl-certificate`).
    Default,
}

/// What became of reading a Secret.
enum Loaded {
    Good(Arc<Certificate>),
    /// It is there and cannot serve, which was told.
    Broken,
    /// It is not there, which was told.
    Missing,
}

/// A `tls` entry of an Ingress.
struct Entry<'a> {
    ingress: &'a ObjectKey,
    index: usize,
    tls: &'a IngressTLS,
}

/// The Secret of the default certificate (`--default-ssl-certificate`). None where there is no such flag or Secret.
#[must_use]
pub fn default_certificate(snapshot: &Snapshot, options: &Options) -> Option<Chosen> {
    let (namespace, name) = options.default_certificate.as_ref()?;
    let secret = snapshot.secret(namespace, name)?;
    Some(Chosen {
        secret: SecretKey::new(namespace.clone(), name.clone()),
        certificate: parse(secret).ok(),
        ingress: None,
        by: ChosenBy::Default,
    })
}

/// The problem of a default certificate that is asked for and cannot serve, on the Secret that is asked for.
#[must_use]
pub fn default_certificate_problem(snapshot: &Snapshot, options: &Options) -> Option<Problem> {
    let (namespace, name) = options.default_certificate.as_ref()?;
    let key = ObjectKey::secret(namespace.clone(), name.clone());
    match snapshot.secret(namespace, name) {
        None => Some(Problem {
            object: key,
            field: "--default-ssl-certificate".to_owned(),
            level: Level::Missing,
            reason: Reason::NotFound,
            fault: "There is no such Secret".to_owned(),
            effect: "The certificate that was made at start serves, which no client trusts".to_owned(),
            mend: "Create it, or name another with --default-ssl-certificate".to_owned(),
        }),
        Some(secret) => parse(secret).err().map(|fault| fault.problem(key)),
    }
}

/// The problem of a certificate at a time, on its Secret: it is not valid yet, no longer, or only for some days more.
#[must_use]
pub fn validity_problem(secret: &SecretKey, certificate: &Certificate, now: Date) -> Option<Problem> {
    let names = certificate.names().join(", ");
    let (level, fault, effect, mend) = match certificate.validity(now) {
        Validity::NotYet(from) => (
            Level::Error,
            format!("The certificate for {names} is not valid before {from}"),
            "Clients refuse it until then",
            "Correct the clock of whoever issued it, or of this machine",
        ),
        Validity::Expired(since) => (
            Level::Error,
            format!("The certificate for {names} has expired: it was valid until {since}"),
            "Clients refuse it",
            "Renew it",
        ),
        Validity::Valid => {
            let left = certificate.not_after().days_after(now);
            if left >= SOON {
                return None;
            }
            let days = match left {
                0 => "within a day".to_owned(),
                1 => "in a day".to_owned(),
                left => format!("in {left} days"),
            };
            (
                Level::Warning,
                format!("The certificate for {names} expires {days}, at {}", certificate.not_after()),
                "From then on clients refuse it",
                "Renew it",
            )
        }
    };
    Some(Problem {
        object: secret.object(),
        field: "data[tls.crt]".to_owned(),
        level,
        reason: Reason::Expired,
        fault,
        effect: effect.to_owned(),
        mend: mend.to_owned(),
    })
}

/// Why a Secret has no certificate that can serve.
enum Unusable {
    Type(String),
    Invalid(InvalidCertificate),
}

/// The certificate of a Secret. The same bytes are parsed once, however many ask.
fn parse(secret: &Secret) -> Result<Arc<Certificate>, Unusable> {
    let kind = secret.type_.as_deref().unwrap_or_default();
    if !TYPES.contains(&kind) {
        return Err(Unusable::Type(kind.to_owned()));
    }
    let data = |name: &str| secret.data.as_ref().and_then(|data| data.get(name)).filter(|data| !data.0.is_empty());
    let certificate = data("tls.crt").ok_or(Unusable::Invalid(InvalidCertificate::NoCertificateFile))?;
    let key = data("tls.key").ok_or(Unusable::Invalid(InvalidCertificate::NoKeyFile))?;
    tls::parse(&certificate.0, &key.0).map_err(Unusable::Invalid)
}

// === impl Pass ===

impl<'a> Pass<'a> {
    /// The Secrets that a host is to be served with, whose Ingresses were seen; none where it is the default
    /// certificate. What is wrong is told.
    pub(super) fn certificates(&mut self, host: &Hostname, seen: &[Seen<'a>]) -> Vec<Chosen> {
        let entries: Vec<_> = seen.iter().filter(|seen| seen.has_certificate(host)).flat_map(Entry::of).collect();
        let Some(oldest) = entries.first().map(|entry| entry.ingress) else { return Vec::new() };
        let count = entries.iter().take_while(|entry| entry.ingress == oldest).count();
        let own = &entries[..count];
        // To list a host beside no Secret is to ask for the default certificate.
        if own.iter().find(|entry| entry.lists(host)).is_some_and(|entry| entry.secret().is_none()) {
            return Vec::new();
        }
        let mut chosen: Vec<_> = self.decide(host, own).into_iter().collect();
        for entry in entries.iter().filter(|entry| entry.lists(host)) {
            self.add(host, entry, oldest, &mut chosen);
        }
        chosen
    }

    /// What the oldest Ingress says.
    fn decide(&mut self, host: &Hostname, entries: &[Entry<'a>]) -> Option<Chosen> {
        if let Some(entry) = entries.iter().find(|entry| entry.lists(host)) {
            let secret = entry.secret()?;
            let certificate = match self.load(entry, &secret) {
                Loaded::Missing => return None,
                Loaded::Broken => None,
                Loaded::Good(certificate) if certificate.covers(host) => Some(certificate),
                Loaded::Good(certificate) => {
                    self.tell_uncovered(entry, &secret, &certificate, host);
                    None
                }
            };
            return Some(Chosen { secret, certificate, ingress: Some(entry.ingress.clone()), by: ChosenBy::Listed });
        }
        let mut named = false;
        for entry in entries {
            let Some(secret) = entry.secret() else { continue };
            named = true;
            if let Loaded::Good(certificate) = self.load(entry, &secret)
                && certificate.covers(host)
            {
                let ingress = Some(entry.ingress.clone());
                return Some(Chosen { secret, certificate: Some(certificate), ingress, by: ChosenBy::Covered });
            }
        }
        if named && let Some(first) = entries.first() {
            self.tell(Problem {
                object: first.ingress.clone(),
                field: "spec.tls".to_owned(),
                level: Level::Warning,
                reason: Reason::InvalidCertificate,
                fault: format!("No entry lists `{host}`, and no certificate of them is valid for it"),
                effect: format!("The default certificate serves `{host}`"),
                mend: "List the host beside the Secret whose certificate is for it".to_owned(),
            });
        }
        None
    }

    /// Adds the certificate of an entry that lists the host, where it has a kind of key that the chosen ones have not.
    fn add(&mut self, host: &Hostname, entry: &Entry<'a>, oldest: &ObjectKey, chosen: &mut Vec<Chosen>) {
        let Some(secret) = entry.secret().filter(|secret| chosen.iter().all(|chosen| chosen.secret != *secret)) else {
            return;
        };
        if entry.ingress.namespace == oldest.namespace {
            let Loaded::Good(certificate) = self.load(entry, &secret) else { return };
            let same_kind =
                |chosen: &Chosen| chosen.certificate.as_ref().is_some_and(|it| it.kind() == certificate.kind());
            if !chosen.iter().any(same_kind) {
                if certificate.covers(host) {
                    let ingress = Some(entry.ingress.clone());
                    let by = if chosen.is_empty() { ChosenBy::Listed } else { ChosenBy::OtherKey };
                    chosen.push(Chosen { secret, certificate: Some(certificate), ingress, by });
                } else {
                    self.tell_uncovered(entry, &secret, &certificate, host);
                }
                return;
            }
        }
        let fault = if entry.ingress == oldest {
            format!("Another entry of the Ingress lists `{host}` first")
        } else {
            format!("The certificate of `{host}` is chosen by {oldest}, which is older")
        };
        self.tell(Problem {
            object: entry.ingress.clone(),
            field: entry.field("secretName"),
            level: Level::Warning,
            reason: Reason::Conflict,
            fault,
            effect: format!("Secret `{secret}` does not serve it"),
            mend: "Write the same Secret, or one of the same namespace with another kind of key".to_owned(),
        });
    }

    /// Reads a Secret. What is wrong with it is told: that it is not there on the Ingress, the rest on the Secret.
    fn load(&mut self, entry: &Entry<'a>, secret: &SecretKey) -> Loaded {
        self.reads.insert(Read::Object(secret.object()));
        let Some(found) = self.snapshot.secret(&secret.namespace, &secret.name) else {
            self.tell(Problem {
                object: entry.ingress.clone(),
                field: entry.field("secretName"),
                level: Level::Missing,
                reason: Reason::NotFound,
                fault: format!("There is no Secret `{secret}`"),
                effect: "The default certificate serves".to_owned(),
                mend: "Create the Secret, or correct the name".to_owned(),
            });
            return Loaded::Missing;
        };
        match parse(found) {
            Ok(certificate) => Loaded::Good(certificate),
            Err(fault) => {
                self.tell(fault.problem(secret.object()));
                Loaded::Broken
            }
        }
    }

    fn tell_uncovered(&mut self, entry: &Entry<'a>, secret: &SecretKey, certificate: &Certificate, host: &Hostname) {
        self.tell(Problem {
            object: entry.ingress.clone(),
            field: entry.field("secretName"),
            level: Level::Warning,
            reason: Reason::InvalidCertificate,
            fault: format!(
                "The certificate of Secret `{secret}` is not valid for `{host}`, but for {}",
                certificate.names().join(", ")
            ),
            effect: format!(
                "`{host}` keeps the last certificate of the Secret that was valid for it; without one, or after a restart, \
                 the default certificate serves"
            ),
            mend: "Have it issued for that name, too, or name another Secret".to_owned(),
        });
    }

    /// Tells what is wrong with the `tls` section of an Ingress, apart from what it means for a single host.
    pub(super) fn tell_tls(&mut self, seen: &Seen<'a>) {
        let own = self.snapshot.hosts_of(&seen.ingress.key);
        let has_named = rules_of(seen.ingress).any(|(_, host)| host.is_ok_and(|host| !host.is_any()));
        for entry in Entry::of(seen) {
            for (at, text) in entry.tls.hosts.iter().flatten().enumerate() {
                let (level, reason, fault, effect, mend) = match Hostname::parse(text) {
                    Err(fault) => (
                        Level::Error,
                        Reason::InvalidValue,
                        format!("`{text}` is no host: {fault}"),
                        "It is ignored",
                        "Write a DNS name, or `*.` and one",
                    ),
                    Ok(host) if own.iter().any(|own| stands_for(&host, own)) => continue,
                    Ok(_) => (
                        Level::Warning,
                        Reason::Unsupported,
                        format!("No rule of the Ingress has the host `{text}`"),
                        "The entry serves no certificate for it",
                        "Write a rule for the host, or remove it here",
                    ),
                };
                self.tell(Problem {
                    object: entry.ingress.clone(),
                    field: entry.field(&format!("hosts[{at}]")),
                    level,
                    reason,
                    fault,
                    effect: effect.to_owned(),
                    mend: mend.to_owned(),
                });
            }
            if entry.secret().is_none() && self.options.default_certificate.is_none() {
                self.tell(Problem {
                    object: entry.ingress.clone(),
                    field: entry.field("secretName"),
                    level: Level::Warning,
                    reason: Reason::InvalidCertificate,
                    fault: "The entry names no Secret, and there is no --default-ssl-certificate".to_owned(),
                    effect: "The certificate that was made at start serves, which no client trusts".to_owned(),
                    mend: "Name a Secret, or start the gateway with --default-ssl-certificate".to_owned(),
                });
            } else if !has_named && entry.tls.hosts.iter().flatten().next().is_none() {
                self.tell(Problem {
                    object: entry.ingress.clone(),
                    field: entry.field("secretName"),
                    level: Level::Warning,
                    reason: Reason::Unsupported,
                    fault: "No rule of the Ingress has a host, and a certificate is for hosts".to_owned(),
                    effect: "The default certificate serves".to_owned(),
                    mend: "Write the hosts of the rules, or name the Secret with --default-ssl-certificate".to_owned(),
                });
            }
        }
    }

    /// The Secrets of a host that this one is another name of. Those whose certificates are not valid for it are told to
    /// the Ingresses that say so, by `annotation`.
    pub(super) fn related_certificates(
        &mut self,
        source: &Hostname,
        seen: &[Seen<'a>],
        annotation: &str,
        asking: &ObjectKey,
    ) -> Vec<Chosen> {
        let quiet = std::mem::replace(&mut self.quiet, true);
        let mut chosen = self.certificates(source, seen);
        self.quiet = quiet;
        for chosen in &mut chosen {
            chosen.by = ChosenBy::Related;
        }
        let certificates = || chosen.iter().filter_map(|chosen| chosen.certificate.as_ref());
        if certificates().next().is_some() && !certificates().any(|certificate| certificate.covers(self.host)) {
            self.problems.insert(Problem {
                object: asking.clone(),
                field: format!("metadata.annotations[{}/{annotation}]", self.options.annotation_prefix),
                level: Level::Warning,
                reason: Reason::InvalidCertificate,
                fault: format!("The certificate of `{source}` is not valid for `{}`", self.host),
                effect: format!("Clients of https://{} are shown a certificate for another name", self.host),
                mend: "Have it issued for that name, too".to_owned(),
            });
        }
        chosen
    }
}

/// Whether a listed host is another, or a wildcard that the other is below.
fn stands_for(listed: &Hostname, host: &Hostname) -> bool {
    let parent = host.as_str().split_once('.').map(|(_, parent)| parent);
    listed == host || (listed.wildcard_suffix().is_some() && listed.wildcard_suffix() == parent)
}

// === impl Entry ===

impl<'a> Entry<'a> {
    /// The entries of an Ingress.
    fn of(seen: &Seen<'a>) -> Vec<Self> {
        let ingress: &'a Observed<Ingress> = seen.ingress;
        let tls = ingress.spec.as_ref().and_then(|spec| spec.tls.as_ref());
        let entries = tls.into_iter().flatten().enumerate();
        entries.map(|(index, tls)| Self { ingress: &ingress.key, index, tls }).collect()
    }

    fn lists(&self, host: &Hostname) -> bool {
        self.tls.hosts.iter().flatten().any(|listed| Hostname::parse(listed).as_ref() == Ok(host))
    }

    fn secret(&self) -> Option<SecretKey> {
        let name = self.tls.secret_name.as_deref().filter(|name| !name.is_empty())?;
        Some(SecretKey::new(self.ingress.namespace.clone(), name))
    }

    fn field(&self, part: &str) -> String {
        format!("spec.tls[{}].{part}", self.index)
    }
}

// === impl Unusable ===

impl Unusable {
    /// The problem of the Secret.
    fn problem(&self, object: ObjectKey) -> Problem {
        let (field, fault, mend) = match self {
            Self::Type(kind) => (
                "type",
                format!("A Secret of type `{kind}` is not read for certificates"),
                "Make it one of type `kubernetes.io/tls`, as `kubectl create secret tls` does",
            ),
            Self::Invalid(fault) => {
                let text = fault.to_string();
                let mut letters = text.chars();
                let first = letters.next().map(|first| first.to_ascii_uppercase());
                let field = if fault.is_about_key() { "data[tls.key]" } else { "data[tls.crt]" };
                (field, first.into_iter().chain(letters).collect(), fault.mend())
            }
        };
        Problem {
            object,
            field: field.to_owned(),
            level: Level::Error,
            reason: Reason::InvalidCertificate,
            fault,
            effect:
                "Hosts that name it keep the last certificate of it that could serve; without one, or after a restart, \
                     the default certificate serves"
                    .to_owned(),
            mend: mend.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::ByteString,
        tls::{Made, testing},
    };

    #[test]
    fn many_hosts_that_name_one_secret_share_what_is_in_it() {
        let issued = testing::issued(&["*.shop.example"], Made::EcdsaP256);
        let data = [("tls.crt", issued.chain.as_bytes()), ("tls.key", issued.key.as_bytes())];
        let data = data.map(|(name, bytes)| (name.to_owned(), ByteString(bytes.to_vec())));
        let secret = Secret { data: Some(data.into()), ..Secret::default() };
        let first = parse(&secret).ok().unwrap();
        assert!((0..1000).all(|_| Arc::ptr_eq(&first, &parse(&secret).ok().unwrap())));
    }

    #[test]
    fn dates_are_judged_by_whoever_reports() {
        const DAY: i64 = 24 * 60 * 60;
        let issued =
            testing::authority().issue(&["shop.example"], Made::EcdsaP256, Date(100 * DAY), Date(200 * DAY)).unwrap();
        let certificate = Certificate::parse(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
        let told = |now: i64| {
            let problem = validity_problem(&SecretKey::new("shop", "cert"), &certificate, Date(now))?;
            assert_eq!((problem.object, problem.reason), (ObjectKey::secret("shop", "cert"), Reason::Expired));
            Some((problem.level, problem.fault))
        };
        let told_so = |level, fault: &str| Some((level, format!("The certificate for shop.example {fault}")));
        let (until, from) = ("1970-07-20T00:00:00Z", "1970-04-11T00:00:00Z");
        assert_eq!(told(100 * DAY - 1), told_so(Level::Error, &format!("is not valid before {from}")));
        assert_eq!(told(100 * DAY), None);
        assert_eq!(told(186 * DAY), None);
        assert_eq!(told(186 * DAY + 1), told_so(Level::Warning, &format!("expires in 13 days, at {until}")));
        assert_eq!(told(199 * DAY), told_so(Level::Warning, &format!("expires in a day, at {until}")));
        assert_eq!(told(200 * DAY), told_so(Level::Warning, &format!("expires within a day, at {until}")));
        assert_eq!(told(200 * DAY + 1), told_so(Level::Error, &format!("has expired: it was valid until {until}")));
    }
}
