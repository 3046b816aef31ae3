//! Objects as they were last observed, and snapshots of all of them.
//!
//! A `source` says what it observes; the [`Store`] keeps it, and says what each observation [`Change`]d: the hosts and
//! the Services that can look different now. [`Snapshot`]s are for `translate`. They cost nothing to take, since all
//! maps are persistent and share what did not change, and what is in one stays as it is while the store goes on.
//!
//! What always holds: an Ingress is found under each host that it can say something about, and under any host if there
//! is none; the indexes name exactly the objects that are there.
//!
//! ```
//! use std::sync::Arc;
//! use serin::{api::{Ingress, ObjectMeta}, key::Hostname, store::{Age, Store}};
//!
//! let mut store = Store::new(Arc::new(|_| vec![Hostname::parse("shop.example").unwrap()]));
//! let metadata = ObjectMeta { name: Some("web".to_owned()), ..ObjectMeta::default() };
//! let before = store.snapshot();
//! let change = store.apply(Ingress { metadata, ..Ingress::default() }.into(), Age::listed("web.yaml", 0));
//!
//! assert_eq!(change.hosts, [Hostname::parse("shop.example").unwrap()]);
//! assert_eq!(before.ingresses().count(), 0);
//! assert_eq!(store.snapshot().ingresses_of(&change.hosts[0]).count(), 1);
//! ```

use std::{fmt, sync::Arc};

use crate::{
    api::{Ingress, Object, service_of},
    key::{Hostname, ObjectKey},
};

mod age;
mod names;
mod snapshot;

#[cfg(test)]
mod tests;

pub use age::{Age, Precedence};
pub use snapshot::{Observed, Snapshot};

/// Says which hosts an Ingress can matter for, among them aliases and the hosts that it redirects.
///
/// It must always say the same of the same Ingress.
pub type HostsOf = Arc<dyn Fn(&Ingress) -> Vec<Hostname> + Send + Sync>;

/// The objects as last observed.
#[derive(Clone)]
pub struct Store {
    now: Snapshot,
    hosts_of: HostsOf,
}

/// What an observation changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The object.
    pub key: ObjectKey,
    pub effect: Effect,
    /// Of an Ingress: the hosts that it was or is found under, sorted. Empty for other kinds.
    pub hosts: Vec<Hostname>,
    /// Of an EndpointSlice: the Services that it belonged to or belongs to. Empty for other kinds.
    pub services: Vec<ObjectKey>,
}

/// What became of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Nothing that traffic could depend on; there is nothing to do.
    None,
    Added,
    Replaced,
    Removed,
}

// === impl Store ===

impl Store {
    /// Starts empty.
    #[must_use]
    pub fn new(hosts_of: HostsOf) -> Self {
        Self { now: Snapshot::default(), hosts_of }
    }

    /// All objects as they are now. The snapshot does not change afterwards; taking it copies no object and no map.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.now.clone()
    }

    /// Keeps an object in the place of its former state.
    pub fn apply(&mut self, object: Object, age: Age) -> Change {
        let key = object.key();
        let former = self.now.object(&key);
        let effect = match self.now.age(&key) {
            None => Effect::Added,
            Some(former_age) => match &former {
                Some(former) if *former_age == age && former.says_the_same(&object) => Effect::None,
                _ => Effect::Replaced,
            },
        };
        let hosts = match &object {
            Object::Ingress(ingress) => self.hosts_of(ingress),
            _ => Vec::new(),
        };
        let mut change = Change::new(key.clone(), effect);
        change.reaches(former.as_ref(), self.now.hosts_of(&key));
        change.reaches(Some(&object), &hosts);
        self.now.insert(key, object, age, hosts);
        change.sorted()
    }

    /// Forgets an object. To forget one that is not there has no effect.
    pub fn delete(&mut self, key: &ObjectKey) -> Change {
        let former = self.now.object(key);
        let effect = if former.is_some() { Effect::Removed } else { Effect::None };
        let mut change = Change::new(key.clone(), effect);
        change.reaches(former.as_ref(), self.now.hosts_of(key));
        self.now.remove(key);
        change.sorted()
    }

    /// The hosts to find an Ingress under: sorted, without repetition, at least one.
    fn hosts_of(&self, ingress: &Ingress) -> Vec<Hostname> {
        let mut hosts = (self.hosts_of)(ingress);
        if hosts.is_empty() {
            hosts.push(Hostname::any());
        }
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.now).finish()
    }
}

// === impl Change ===

impl Change {
    /// Whether there is nothing to do about it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.effect == Effect::None
    }

    fn new(key: ObjectKey, effect: Effect) -> Self {
        Self { key, effect, hosts: Vec::new(), services: Vec::new() }
    }

    /// Adds what a state of the object has to do with; `hosts` are those of an Ingress in that state.
    fn reaches(&mut self, state: Option<&Object>, hosts: &[Hostname]) {
        self.hosts.extend_from_slice(hosts);
        if let Some(Object::EndpointSlice(slice)) = state {
            let service = service_of(slice);
            self.services.extend(service.map(|name| ObjectKey::service(self.key.namespace.clone(), name)));
        }
    }

    fn sorted(mut self) -> Self {
        self.hosts.sort_unstable();
        self.hosts.dedup();
        self.services.sort_unstable();
        self.services.dedup();
        self
    }
}
