//! A persistent map from the name of an object to what is known of it.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync as Map;

/// A map from namespace and name, sorted by both. A clone shares all that does not change afterwards.
#[derive(Clone)]
pub(super) struct Names<V>(Map<Arc<str>, Map<Arc<str>, V>>);

// === impl Names ===

impl<V> Names<V> {
    /// Looks up without making a key.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&V> {
        self.0.get(namespace)?.get(name)
    }

    /// How many there are. Costs what there are of namespaces.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(Map::size).sum()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values().flat_map(Map::values)
    }
}

impl<V: Clone> Names<V> {
    pub(super) fn insert(&mut self, namespace: Arc<str>, name: Arc<str>, value: V) {
        match self.0.get_mut(&*namespace) {
            Some(names) => names.insert_mut(name, value),
            None => self.0.insert_mut(namespace, Map::new_sync().insert(name, value)),
        }
    }

    /// The value to change, put there first where there is none.
    pub(super) fn entry(&mut self, namespace: &Arc<str>, name: &str) -> &mut V
    where
        V: Default,
    {
        if self.get(namespace, name).is_none() {
            self.insert(namespace.clone(), name.into(), V::default());
        }
        let value = self.0.get_mut(&**namespace).and_then(|names| names.get_mut(name));
        value.expect("it is there or has just been put there")
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(names) = self.0.get_mut(namespace) {
            names.remove_mut(name);
            if names.is_empty() {
                self.0.remove_mut(namespace);
            }
        }
    }
}

impl<V> Default for Names<V> {
    fn default() -> Self {
        Self(Map::new_sync())
    }
}
