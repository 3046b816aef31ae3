//! All objects at one moment, and the indexes to find them by.

use std::{fmt, ops::Deref, sync::Arc};

use rpds::RedBlackTreeMapSync as Map;

use super::{Age, Precedence, names::Names};
use crate::{
    api::{ConfigMap, EndpointSlice, Ingress, IngressClass, Namespace, Object, Sealed, Service, service_of},
    key::{Hostname, Kind, ObjectKey},
};

/// All objects at one moment.
///
/// It is cheap to clone and never changes. What it returns as several comes in a fixed order, so that whatever is made
/// from a snapshot does not depend on the order of the observations.
#[derive(Clone)]
pub struct Snapshot {
    config_maps: Kept<ConfigMap>,
    slices: Kept<EndpointSlice>,
    ingresses: Names<Indexed>,
    classes: Kept<IngressClass>,
    namespaces: Kept<Namespace>,
    secrets: Kept<Sealed>,
    services: Kept<Service>,
    /// The Ingresses that can say something about a host, oldest first.
    by_host: Map<Hostname, Map<Precedence, Arc<Observed<Ingress>>>>,
    /// The slices of a Service, by their name.
    by_service: Names<Map<Arc<str>, Arc<Observed<EndpointSlice>>>>,
}

/// An object, its name and its age.
pub struct Observed<T> {
    pub key: ObjectKey,
    pub age: Age,
    pub object: Arc<T>,
}

type Kept<T> = Names<Arc<Observed<T>>>;

/// An Ingress and the hosts that it is indexed under.
#[derive(Clone)]
struct Indexed {
    ingress: Arc<Observed<Ingress>>,
    hosts: Arc<[Hostname]>,
}

// === impl Snapshot ===

impl Snapshot {
    /// An Ingress by its key.
    #[must_use]
    pub fn ingress(&self, key: &ObjectKey) -> Option<&Arc<Observed<Ingress>>> {
        self.indexed(key).map(|indexed| &indexed.ingress)
    }

    /// All Ingresses, by namespace and name.
    pub fn ingresses(&self) -> impl Iterator<Item = &Arc<Observed<Ingress>>> {
        self.ingresses.values().map(|indexed| &indexed.ingress)
    }

    /// The Ingresses that can say something about a host, oldest first; see [`Precedence`].
    ///
    /// A wildcard is a host of its own here: what matches by it must be asked for.
    pub fn ingresses_of(&self, host: &Hostname) -> impl Iterator<Item = &Arc<Observed<Ingress>>> {
        self.by_host.get(host).into_iter().flat_map(Map::values)
    }

    /// The hosts that an Ingress is found under, sorted; none if it is not there.
    #[must_use]
    pub fn hosts_of(&self, ingress: &ObjectKey) -> &[Hostname] {
        self.indexed(ingress).map_or(&[], |indexed| &indexed.hosts)
    }

    /// All hosts that an Ingress is found under, sorted.
    pub fn hosts(&self) -> impl Iterator<Item = &Hostname> {
        self.by_host.keys()
    }

    /// How many objects there are of each kind.
    #[must_use]
    pub fn counts(&self) -> [(Kind, usize); 7] {
        [
            (Kind::ConfigMap, self.config_maps.len()),
            (Kind::EndpointSlice, self.slices.len()),
            (Kind::Ingress, self.ingresses.len()),
            (Kind::IngressClass, self.classes.len()),
            (Kind::Namespace, self.namespaces.len()),
            (Kind::Secret, self.secrets.len()),
            (Kind::Service, self.services.len()),
        ]
    }

    /// A Service by its name.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<Observed<Service>>> {
        self.services.get(namespace, name)
    }

    /// All Services, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Observed<Service>>> {
        self.services.values()
    }

    /// The EndpointSlices that are labelled as a Service's, by name.
    pub fn slices_of(&self, namespace: &str, service: &str) -> impl Iterator<Item = &Arc<Observed<EndpointSlice>>> {
        self.by_service.get(namespace, service).into_iter().flat_map(Map::values)
    }

    /// A Secret by its name.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Observed<Sealed>>> {
        self.secrets.get(namespace, name)
    }

    /// An IngressClass by its name.
    #[must_use]
    pub fn ingress_class(&self, name: &str) -> Option<&Arc<Observed<IngressClass>>> {
        self.classes.get("", name)
    }

    /// All IngressClasses, by name.
    pub fn ingress_classes(&self) -> impl Iterator<Item = &Arc<Observed<IngressClass>>> {
        self.classes.values()
    }

    /// An object of any kind.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<Object> {
        let (namespace, name) = (&*key.namespace, &*key.name);
        match key.kind {
            Kind::ConfigMap => self.config_maps.get(namespace, name).map(|kept| Object::ConfigMap(kept.object.clone())),
            Kind::EndpointSlice => {
                self.slices.get(namespace, name).map(|kept| Object::EndpointSlice(kept.object.clone()))
            }
            Kind::Ingress => self.ingress(key).map(|kept| Object::Ingress(kept.object.clone())),
            Kind::IngressClass => {
                self.classes.get(namespace, name).map(|kept| Object::IngressClass(kept.object.clone()))
            }
            Kind::CommandLine | Kind::Manifest => None,
            Kind::Namespace => self.namespaces.get(namespace, name).map(|kept| Object::Namespace(kept.object.clone())),
            Kind::Secret => self.secrets.get(namespace, name).map(|kept| Object::Secret(kept.object.clone())),
            Kind::Service => self.services.get(namespace, name).map(|kept| Object::Service(kept.object.clone())),
        }
    }

    /// The age of an object of any kind.
    #[must_use]
    pub fn age(&self, key: &ObjectKey) -> Option<&Age> {
        let (namespace, name) = (&*key.namespace, &*key.name);
        match key.kind {
            Kind::ConfigMap => self.config_maps.get(namespace, name).map(|kept| &kept.age),
            Kind::EndpointSlice => self.slices.get(namespace, name).map(|kept| &kept.age),
            Kind::Ingress => self.ingress(key).map(|kept| &kept.age),
            Kind::IngressClass => self.classes.get(namespace, name).map(|kept| &kept.age),
            Kind::CommandLine | Kind::Manifest => None,
            Kind::Namespace => self.namespaces.get(namespace, name).map(|kept| &kept.age),
            Kind::Secret => self.secrets.get(namespace, name).map(|kept| &kept.age),
            Kind::Service => self.services.get(namespace, name).map(|kept| &kept.age),
        }
    }

    /// Puts an object in the place of its former state; `hosts` are those of an Ingress.
    pub(super) fn insert(&mut self, key: ObjectKey, object: Object, age: Age, hosts: Vec<Hostname>) {
        match object {
            Object::ConfigMap(object) => keep(&mut self.config_maps, key, object, age),
            Object::EndpointSlice(object) => {
                self.unlink_slice(&key);
                let kept = Arc::new(Observed { key: key.clone(), age, object });
                self.slices.insert(key.namespace.clone(), key.name.clone(), kept.clone());
                if let Some(service) = service_of(&kept.object) {
                    self.by_service.entry(&key.namespace, service).insert_mut(key.name, kept.clone());
                }
            }
            Object::Ingress(object) => {
                self.unlink_ingress(&key);
                let ingress = Arc::new(Observed { key: key.clone(), age, object });
                for host in &hosts {
                    self.link_ingress(host, &ingress);
                }
                self.ingresses.insert(key.namespace, key.name, Indexed { ingress, hosts: hosts.into() });
            }
            Object::IngressClass(object) => keep(&mut self.classes, key, object, age),
            Object::Namespace(object) => keep(&mut self.namespaces, key, object, age),
            Object::Secret(object) => keep(&mut self.secrets, key, object, age),
            Object::Service(object) => keep(&mut self.services, key, object, age),
        }
    }

    /// Takes an object out.
    pub(super) fn remove(&mut self, key: &ObjectKey) {
        let (namespace, name) = (&*key.namespace, &*key.name);
        match key.kind {
            Kind::ConfigMap => self.config_maps.remove(namespace, name),
            Kind::EndpointSlice => {
                self.unlink_slice(key);
                self.slices.remove(namespace, name);
            }
            Kind::Ingress => {
                self.unlink_ingress(key);
                self.ingresses.remove(namespace, name);
            }
            Kind::IngressClass => self.classes.remove(namespace, name),
            Kind::CommandLine | Kind::Manifest => {}
            Kind::Namespace => self.namespaces.remove(namespace, name),
            Kind::Secret => self.secrets.remove(namespace, name),
            Kind::Service => self.services.remove(namespace, name),
        }
    }

    fn indexed(&self, key: &ObjectKey) -> Option<&Indexed> {
        if key.kind != Kind::Ingress {
            return None;
        }
        self.ingresses.get(&key.namespace, &key.name)
    }

    fn link_ingress(&mut self, host: &Hostname, ingress: &Arc<Observed<Ingress>>) {
        match self.by_host.get_mut(host) {
            Some(ingresses) => ingresses.insert_mut(ingress.precedence(), ingress.clone()),
            None => {
                let ingresses = Map::new_sync().insert(ingress.precedence(), ingress.clone());
                self.by_host.insert_mut(host.clone(), ingresses);
            }
        }
    }

    /// Takes an Ingress out of the index of hosts.
    fn unlink_ingress(&mut self, key: &ObjectKey) {
        let Some(Indexed { ingress, hosts }) = self.indexed(key).cloned() else { return };
        let precedence = ingress.precedence();
        for host in &*hosts {
            if let Some(ingresses) = self.by_host.get_mut(host) {
                ingresses.remove_mut(&precedence);
                if ingresses.is_empty() {
                    self.by_host.remove_mut(host);
                }
            }
        }
    }

    /// Takes a slice out of the index of Services.
    fn unlink_slice(&mut self, key: &ObjectKey) {
        let Some(slice) = self.slices.get(&key.namespace, &key.name).cloned() else { return };
        if let Some(service) = service_of(&slice.object) {
            let slices = self.by_service.entry(&key.namespace, service);
            slices.remove_mut(&*key.name);
            if slices.is_empty() {
                self.by_service.remove(&key.namespace, service);
            }
        }
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            config_maps: Names::default(),
            slices: Names::default(),
            ingresses: Names::default(),
            classes: Names::default(),
            namespaces: Names::default(),
            secrets: Names::default(),
            services: Names::default(),
            by_host: Map::new_sync(),
            by_service: Names::default(),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.ingresses())
            .entries(self.ingress_classes())
            .entries(self.services())
            .entries(self.slices.values())
            .entries(self.secrets.values())
            .entries(self.config_maps.values())
            .entries(self.namespaces.values())
            .finish()
    }
}

/// Puts an object that no index names in the place of its former state.
fn keep<T>(names: &mut Kept<T>, key: ObjectKey, object: Arc<T>, age: Age) {
    let (namespace, name) = (key.namespace.clone(), key.name.clone());
    names.insert(namespace, name, Arc::new(Observed { key, age, object }));
}

// === impl Observed ===

impl<T> Observed<T> {
    /// The place of the object where the oldest comes first.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        Precedence { age: self.age.clone(), key: self.key.clone() }
    }
}

impl<T> Deref for Observed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

/// The name alone, since a Secret must not reach a log.
impl<T> fmt::Debug for Observed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.key, f)
    }
}
