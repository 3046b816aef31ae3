//! Which watches there should be, besides those of whole kinds: of the Secrets that objects name.

use std::collections::BTreeSet;

use super::{Config, SecretAccess, watches::Watch};
use crate::key::{Kind, ObjectKey};

/// The watches that should run, where objects name `wanted`.
///
/// `has` tells whether a watch of many has listed an object, and None where it has not listed yet. What such a watch has
/// needs none of its own; what it has not may come by any type, and is watched alone.
pub(super) fn watches(
    config: &Config,
    wanted: &BTreeSet<ObjectKey>,
    has: impl Fn(&Watch, &ObjectKey) -> Option<bool>,
) -> BTreeSet<Watch> {
    let mut watches = Watch::first(config);
    for object in wanted {
        let many = match (object.kind, config.secrets) {
            (Kind::Secret, SecretAccess::Cluster) => Some(Watch::All(Kind::Secret)),
            (Kind::Secret, SecretAccess::Namespaces) => Some(Watch::Certificates(object.namespace.clone())),
            _ => None,
        };
        let has = many.as_ref().map_or(Some(false), |many| has(many, object));
        watches.extend(many);
        if has == Some(false) {
            watches.insert(Watch::One(object.clone()));
        }
    }
    watches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(secrets: SecretAccess) -> Config {
        Config { secrets, ..Config::default() }
    }

    fn wanted() -> BTreeSet<ObjectKey> {
        ["a", "b"].map(|name| ObjectKey::secret("shop", name)).into()
    }

    /// The watches that are not of whole kinds.
    fn others(secrets: SecretAccess, has: impl Fn(&Watch, &ObjectKey) -> Option<bool>) -> Vec<String> {
        let config = config(secrets);
        let first = Watch::first(&config);
        watches(&config, &wanted(), has).difference(&first).map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_watch_of_many_has_needs_none_of_its_own() {
        let has = |_: &Watch, object: &ObjectKey| Some(&*object.name == "a");
        assert_eq!(others(SecretAccess::Cluster, has), ["Secret shop/b"]);
        assert_eq!(others(SecretAccess::Namespaces, has), ["Secret shop/*", "Secret shop/b"]);
        assert_eq!(others(SecretAccess::Named, has), ["Secret shop/a", "Secret shop/b"]);
    }

    #[test]
    fn nothing_is_watched_alone_before_many_were_listed() {
        assert!(others(SecretAccess::Cluster, |_, _| None).is_empty());
        assert_eq!(others(SecretAccess::Namespaces, |_, _| None), ["Secret shop/*"]);
    }

    #[test]
    fn secrets_are_listed_in_the_cluster_only_where_that_is_asked_for() {
        for (secrets, listed) in
            [(SecretAccess::Cluster, true), (SecretAccess::Namespaces, false), (SecretAccess::Named, false)]
        {
            assert_eq!(Watch::first(&config(secrets)).contains(&Watch::All(Kind::Secret)), listed, "{secrets:?}");
        }
    }
}
