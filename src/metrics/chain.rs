//! A map that only grows, read without locks: for few keys, the first of them the hottest.

use std::sync::OnceLock;

/// Keys and values in the order of their first use.
#[derive(Debug)]
pub(super) struct Chain<K, V> {
    first: OnceLock<Box<Link<K, V>>>,
}

/// On cache lines of its own, since links of several workers would lie side by side otherwise.
#[derive(Debug)]
#[repr(align(64))]
struct Link<K, V> {
    key: K,
    value: V,
    next: OnceLock<Box<Self>>,
}

// === impl Chain ===

impl<K, V: Default> Chain<K, V> {
    /// The value of the key that `is` finds; where there is none, a new one under `key`.
    #[inline]
    pub(super) fn find_or_add(&self, is: impl Fn(&K) -> bool, key: impl Fn() -> K) -> &V {
        let mut at = &self.first;
        loop {
            let link = at.get_or_init(|| Box::new(Link { key: key(), value: V::default(), next: OnceLock::new() }));
            if is(&link.key) {
                return &link.value;
            }
            at = &link.next;
        }
    }
}

impl<K, V> Chain<K, V> {
    /// All keys and values, in the order of their first use.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        std::iter::successors(self.first.get(), |link| link.next.get()).map(|link| (&link.key, &link.value))
    }
}

impl<K, V> Default for Chain<K, V> {
    fn default() -> Self {
        Self { first: OnceLock::new() }
    }
}

impl<K, V> Drop for Chain<K, V> {
    /// Unlinks one by one: a long chain would otherwise be dropped by deep recursion.
    fn drop(&mut self) {
        let mut next = self.first.take();
        while let Some(mut link) = next {
            next = link.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_key_keeps_its_value() {
        let chain = Chain::<u32, Cell<u32>>::default();
        for key in [3, 1, 3, 2, 1, 3] {
            let value = chain.find_or_add(|k| *k == key, || key);
            value.set(value.get() + 1);
        }
        let all: Vec<_> = chain.iter().map(|(key, value)| (*key, value.get())).collect();
        assert_eq!(all, [(3, 3), (1, 2), (2, 1)]);
    }

    #[test]
    fn a_long_chain_is_dropped_without_recursion() {
        let chain = Chain::<u32, ()>::default();
        let mut at = &chain.first;
        for key in 0..200_000 {
            at = &at.get_or_init(|| Box::new(Link { key, value: (), next: OnceLock::new() })).next;
        }
        drop(chain);
    }
}
