//! The table: all hosts, and what each answers.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use foldhash::fast::FixedState;
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{ClientCertificates, HostTable, Route};
use crate::{http, key::Hostname};

/// In how many parts the map of hosts is; a changed table shares all but one with the former.
const SHARDS: usize = 256;

/// All routes.
///
/// Finding a host costs the same however many there are, and allocates nothing. A table with one host changed shares
/// the others, and nearly all of the map, with the table that it was made of.
pub struct Table<B, R> {
    /// The hosts with a name, by its hash.
    shards: Arc<[Arc<Shard<B, R>>]>,
    /// Any host: what no name fits.
    any: Option<Arc<Host<B, R>>>,
    /// What serves a request that no route matches: `--default-backend-service`.
    pub default: Option<Arc<Route<B, R>>>,
    /// The number of the publication that made it.
    pub number: u64,
}

type Shard<B, R> = HashMap<HostKey, Arc<Host<B, R>>, FixedState>;

/// A host that is looked up by the bytes of [`key_of`].
#[derive(Clone, PartialEq, Eq)]
struct HostKey(Hostname);

/// What a host answers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum Host<B, R> {
    /// By its routes.
    Routes(HostTable<B, R>),
    /// With a redirect to its twin with or without `www.` (`from-to-www-redirect`).
    Twin { to: Hostname, status: u16 },
}

/// How well a host of the table fits a request: an exact one beats a wildcard, that beats any host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum HostMatch {
    Any,
    Wildcard,
    Exact,
}

// === impl Table ===

impl<B, R> Table<B, R> {
    /// A table without hosts.
    #[must_use]
    pub fn new() -> Self {
        let empty = Arc::new(Shard::default());
        Self { shards: (0..SHARDS).map(|_| empty.clone()).collect(), any: None, default: None, number: 0 }
    }

    /// This table with one host set, or removed.
    #[must_use]
    pub fn with_host(&self, name: Hostname, host: Option<Arc<Host<B, R>>>) -> Self {
        self.with_hosts([(name, host)])
    }

    /// This table with several hosts set, or removed.
    #[must_use]
    pub fn with_hosts(&self, hosts: impl IntoIterator<Item = (Hostname, Option<Arc<Host<B, R>>>)>) -> Self {
        let mut table = self.clone();
        let shards = Arc::make_mut(&mut table.shards);
        for (name, host) in hosts {
            if name.is_any() {
                table.any = host;
                continue;
            }
            let shard = Arc::make_mut(&mut shards[shard_of(key_of(&name))]);
            match host {
                Some(host) => {
                    shard.insert(HostKey(name), host);
                }
                None => {
                    shard.remove(key_of(&name));
                }
            }
        }
        table
    }

    /// A host of the table, by its own name.
    #[must_use]
    pub fn host(&self, name: &Hostname) -> Option<&Arc<Host<B, R>>> {
        if name.is_any() { self.any.as_ref() } else { self.keyed(key_of(name)) }
    }

    /// All hosts, in no order.
    pub fn hosts(&self) -> impl Iterator<Item = (Hostname, &Arc<Host<B, R>>)> {
        let named = self.shards.iter().flat_map(|shard| shard.iter()).map(|(name, host)| (name.0.clone(), host));
        named.chain(self.any.iter().map(|host| (Hostname::any(), host)))
    }

    /// How many hosts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum::<usize>() + usize::from(self.any.is_some())
    }

    /// Whether there is no host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The host that a request is for, by its Host or `:authority` as received.
    ///
    /// Case does not matter; a port and one trailing dot are dropped. An exact host beats a wildcard, which stands for
    /// exactly one label of letters, digits, `-` and `_`; that beats any host.
    #[must_use]
    pub fn find_host(&self, authority: &[u8]) -> Option<(HostMatch, &Arc<Host<B, R>>)> {
        let mut buffer = [0; 255];
        let name = http::host::lower(http::host::name(authority), &mut buffer);
        if let Some(host) = self.exact(name) {
            return Some((HostMatch::Exact, host));
        }
        if let Some(host) = wildcard_of(name).and_then(|suffix| self.keyed(suffix)) {
            return Some((HostMatch::Wildcard, host));
        }
        self.any.as_ref().map(|host| (HostMatch::Any, host))
    }

    /// The hosts that a request could be for, best first, each with how well it fits or none where there is no such
    /// host.
    pub(super) fn hosts_that_could_fit(&self, authority: &[u8]) -> Vec<(String, Option<HostMatch>)> {
        let mut hosts = Vec::new();
        let mut tell = |name: &[u8], there: bool, fits| {
            hosts.push((String::from_utf8_lossy(name).into_owned(), there.then_some(fits)));
        };
        let mut buffer = [0; 255];
        let name = http::host::lower(http::host::name(authority), &mut buffer);
        tell(name, self.exact(name).is_some(), HostMatch::Exact);
        if let Some(suffix) = wildcard_of(name) {
            tell(&[b"*", suffix].concat(), self.keyed(suffix).is_some(), HostMatch::Wildcard);
        }
        tell(b"*", self.any.is_some(), HostMatch::Any);
        hosts
    }

    /// The host of just this name. A client cannot name a wildcard.
    fn exact(&self, name: &[u8]) -> Option<&Arc<Host<B, R>>> {
        if name.starts_with(b".") { None } else { self.keyed(name) }
    }

    fn keyed(&self, key: &[u8]) -> Option<&Arc<Host<B, R>>> {
        self.shards[shard_of(key)].get(key)
    }
}

/// The shard of a host. Its map uses the other bits of the same hash.
fn shard_of(key: &[u8]) -> usize {
    (FixedState::default().hash_one(key) >> 32) as usize % SHARDS
}

/// The key of the wildcard that fits a host: `a.shop.example` → `.shop.example`.
fn wildcard_of(name: &[u8]) -> Option<&[u8]> {
    let (label, rest) = name.split_at(memchr::memchr(b'.', name)?);
    let fits = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    (!label.is_empty() && label.iter().all(fits)).then_some(rest)
}

impl<B, R> Clone for Table<B, R> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), any: self.any.clone(), default: self.default.clone(), number: self.number }
    }
}

impl<B, R> Default for Table<B, R> {
    fn default() -> Self {
        Self::new()
    }
}

/// Equal where all hosts and the default are; the number does not count.
impl<B: PartialEq, R: PartialEq> PartialEq for Table<B, R> {
    fn eq(&self, other: &Self) -> bool {
        self.any == other.any && self.default == other.default && self.shards == other.shards
    }
}

impl<B: fmt::Debug, R: fmt::Debug> fmt::Debug for Table<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: BTreeMap<_, _> = self.hosts().collect();
        f.debug_struct("Table")
            .field("number", &self.number)
            .field("hosts", &hosts)
            .field("default", &self.default)
            .finish()
    }
}

/// The hosts are in the order of their names.
impl<B: Serialize, R: Serialize> Serialize for Table<B, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hosts: BTreeMap<_, _> = self.hosts().collect();
        let mut table = serializer.serialize_struct("Table", 3)?;
        table.serialize_field("number", &self.number)?;
        table.serialize_field("hosts", &hosts)?;
        table.serialize_field("default", &self.default)?;
        table.end()
    }
}

// === impl HostKey ===

/// What a host is looked up by: its name, or for `*.shop.example` what a request's host ends in: `.shop.example`.
fn key_of(name: &Hostname) -> &[u8] {
    let name = name.as_str().as_bytes();
    name.strip_prefix(b"*").unwrap_or(name)
}

/// The hash is that of the bytes, so that a host is found by them.
impl Hash for HostKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        key_of(&self.0).hash(state);
    }
}

impl std::borrow::Borrow<[u8]> for HostKey {
    fn borrow(&self) -> &[u8] {
        key_of(&self.0)
    }
}

// === impl Host ===

impl<B, R> Host<B, R> {
    /// What it asks of the certificates of its clients. A host that only redirects asks for nothing.
    #[must_use]
    pub fn client_certificates(&self) -> Option<&ClientCertificates> {
        match self {
            Self::Routes(host) => host.client_certificates.as_ref(),
            Self::Twin { .. } => None,
        }
    }

    /// The same host with backends named, and routes carried, in another way.
    pub fn map<C, S>(&self, mut backend: impl FnMut(&B) -> C, mut state: impl FnMut(&Route<B, R>) -> S) -> Host<C, S> {
        match self {
            Self::Routes(host) => Host::Routes(host.map(&mut backend, &mut state)),
            Self::Twin { to, status } => Host::Twin { to: to.clone(), status: *status },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twin(to: &str) -> Arc<Host<u8, ()>> {
        Arc::new(Host::Twin { to: Hostname::parse(to).unwrap(), status: 308 })
    }

    fn name(text: &str) -> Hostname {
        if text.is_empty() { Hostname::any() } else { Hostname::parse(text).unwrap() }
    }

    /// A table in which each host names itself.
    fn table(names: &[&str]) -> Table<u8, ()> {
        let own = |text: &str| twin(if text.is_empty() { "any" } else { text.trim_start_matches("*.") });
        Table::new().with_hosts(names.iter().map(|text| (name(text), Some(own(text)))))
    }

    fn found(table: &Table<u8, ()>, authority: &str) -> Option<HostMatch> {
        table.find_host(authority.as_bytes()).map(|(fits, _)| fits)
    }

    #[test]
    fn an_exact_host_beats_a_wildcard_and_that_any() {
        assert!(HostMatch::Exact > HostMatch::Wildcard && HostMatch::Wildcard > HostMatch::Any);
        let table = table(&["a.shop.example", "*.shop.example", ""]);
        assert_eq!(found(&table, "a.shop.example"), Some(HostMatch::Exact));
        assert_eq!(found(&table, "b.shop.example"), Some(HostMatch::Wildcard));
        assert_eq!(found(&table, "shop.example"), Some(HostMatch::Any));
    }

    #[test]
    fn a_wildcard_is_exactly_one_label() {
        let table = table(&["*.shop.example"]);
        assert_eq!(found(&table, "a_b-1.shop.example"), Some(HostMatch::Wildcard));
        for authority in ["shop.example", "a.b.shop.example", ".shop.example", "*.shop.example", "a b.shop.example"] {
            assert_eq!(found(&table, authority), None, "{authority}");
        }
    }

    #[test]
    fn case_port_and_trailing_dot_do_not_matter() {
        let table = table(&["shop.example", "*.shop.example"]);
        for authority in ["shop.example", "SHOP.Example", "shop.example:80", "shop.example.", "shop.example.:1234"] {
            assert_eq!(found(&table, authority), Some(HostMatch::Exact), "{authority}");
        }
        assert_eq!(found(&table, "X.Shop.Example:8080"), Some(HostMatch::Wildcard));
        assert_eq!(found(&table, "shop.example.."), None);
    }

    #[test]
    fn what_is_no_name_is_for_any_host() {
        let table = table(&["shop.example", ""]);
        let long = "a.".repeat(200);
        for authority in ["", "10.0.0.1", "[::1]", "[::1]:80", "[shop.example", "\u{e4}.example", ":80", &long] {
            assert_eq!(found(&table, authority), Some(HostMatch::Any), "{authority}");
        }
        assert_eq!(table.find_host(b"\xff\xfe").map(|(fits, _)| fits), Some(HostMatch::Any));
    }

    #[test]
    fn a_changed_table_shares_all_but_one_part() {
        let names: Vec<_> = (0..1000).map(|n| format!("h{n}.example")).collect();
        let before = table(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let after = before.with_host(name("h7.example"), Some(twin("other.example")));
        let changed = before.shards.iter().zip(&*after.shards).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert_eq!(changed, 1);
        assert_eq!(before.len(), 1000);
        assert_ne!(before, after);
        assert_eq!(after.with_host(name("h7.example"), before.host(&name("h7.example")).cloned()), before);
    }

    #[test]
    fn a_removed_host_is_gone() {
        let table = table(&["a.example", ""]).with_hosts([(name("a.example"), None), (name(""), None)]);
        assert!(table.is_empty());
        assert_eq!(found(&table, "a.example"), None);
    }
}
