//! How old an object is, and which of two comes first.

use std::{cmp::Ordering, sync::Arc};

use crate::{api::Timestamp, key::ObjectKey};

/// How old an object is: the smaller the older.
///
/// What has a time of creation counts as older than what has none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Age {
    /// When the object was created.
    Created(Timestamp),
    /// Where the object stands in files that do not say when it was created.
    Listed { path: Arc<str>, position: u32 },
}

/// The place of an object where the oldest comes first: the smaller wins.
///
/// Of two that are equally old, the one whose `namespace/name` is greater comes first. It is an odd rule; it is the one of
/// ingress-nginx (`internal/ingress/controller/store`), and objects that were created within one second of each other
/// keep their order when they move from there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Precedence {
    pub age: Age,
    pub key: ObjectKey,
}

// === impl Age ===

impl Age {
    /// The age of an object that stands at a position of a file.
    pub fn listed(path: impl Into<Arc<str>>, position: u32) -> Self {
        Self::Listed { path: path.into(), position }
    }
}

// === impl Precedence ===

impl Ord for Precedence {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_age = self.age.cmp(&other.age);
        // Byte by byte, to compare the same text that ingress-nginx compares without making it.
        by_age.then_with(|| text(&other.key).cmp(text(&self.key))).then_with(|| self.key.kind.cmp(&other.key.kind))
    }
}

impl PartialOrd for Precedence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The bytes of `namespace/name`.
fn text(key: &ObjectKey) -> impl Iterator<Item = u8> + '_ {
    key.namespace.bytes().chain([b'/']).chain(key.name.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(second: i64) -> Age {
        Age::Created(Timestamp::from_second(second).expect("the second is in range"))
    }

    #[test]
    fn the_older_comes_first_and_of_equals_the_greater_name() {
        let mut order = [
            (Age::listed("a/z.yaml", 1), "shop", "eighth"),
            (Age::listed("a.yaml", 12), "shop", "sixth"),
            (created(2), "shop", "a"),
            (created(2), "shop", "b"),
            // `shop-2/x` is less than `shop/x`, although `shop` is less than `shop-2`.
            (created(2), "shop-2", "x"),
            (created(1), "shop", "first"),
            (Age::listed("a/z.yaml", 0), "shop", "seventh"),
            (Age::listed("a.yaml", 3), "shop", "fifth"),
        ]
        .map(|(age, namespace, name)| Precedence { age, key: ObjectKey::ingress(namespace, name) });
        order.sort();
        let names = order.iter().map(|precedence| &*precedence.key.name).collect::<Vec<_>>();
        assert_eq!(names, ["first", "b", "a", "x", "fifth", "sixth", "seventh", "eighth"]);
    }
}
