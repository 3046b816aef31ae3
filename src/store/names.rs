//! A persistent map from the name of an object to what is known of it.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync as Map;

/// A map from namespace and name, sorted by both. A clone shares all that does not change afterwards.
#[derive(Clone)]
pub(super) struct Names<V> {
    namespaces: Map<Arc<str>, Map<Arc<str>, V>>,
    /// How many there are in all namespaces.
    len: usize,
}

// === impl Names ===

impl<V> Names<V> {
    /// Looks up without making a key.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&V> {
        self.namespaces.get(namespace)?.get(name)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.namespaces.values().flat_map(Map::values)
    }
}

impl<V: Clone> Names<V> {
    pub(super) fn insert(&mut self, namespace: Arc<str>, name: Arc<str>, value: V) {
        match self.namespaces.get_mut(&*namespace) {
            Some(names) => {
                let before = names.size();
                names.insert_mut(name, value);
                self.len += names.size() - before;
            }
            None => {
                self.namespaces.insert_mut(namespace, Map::new_sync().insert(name, value));
                self.len += 1;
            }
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
        let value = self.namespaces.get_mut(&**namespace).and_then(|names| names.get_mut(name));
        value.expect("it is there or has just been put there")
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(names) = self.namespaces.get_mut(namespace) {
            self.len -= usize::from(names.remove_mut(name));
            if names.is_empty() {
                self.namespaces.remove_mut(namespace);
            }
        }
    }
}

impl<V> Default for Names<V> {
    fn default() -> Self {
        Self { namespaces: Map::new_sync(), len: 0 }
    }
}
