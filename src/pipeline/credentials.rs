//! The Secrets that hosts name for TLS to endpoints, kept up to date.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    key::{Hostname, Kind, SecretKey},
    problem::Problem,
    store::{Change, Snapshot},
    tls::Credentials,
    translate::{self, CredentialsOutput},
};

/// The outputs of the Secrets that are named, and by whom.
#[derive(Debug, Default)]
pub(super) struct Kept {
    secrets: HashMap<SecretKey, Entry>,
    /// Secrets that a host has come to name, or to name no more, for the end of the update.
    touched: BTreeSet<SecretKey>,
    /// Whether a Secret came to be named, or to be named by nobody.
    renamed: bool,
}

/// What an update changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) changed: Vec<SecretKey>,
    pub(super) gone: Vec<SecretKey>,
}

#[derive(Debug, Default)]
struct Entry {
    /// None until the end of the update in which it came to be named.
    output: Option<CredentialsOutput>,
    users: HashSet<Hostname>,
}

// === impl Kept ===

impl Kept {
    /// What a Secret holds, where it is named and can be used.
    pub(super) fn get(&self, secret: &SecretKey) -> Option<&Arc<Credentials>> {
        self.secrets.get(secret)?.output.as_ref()?.credentials.as_ref()
    }

    /// The Secrets that are named.
    pub(super) fn names(&self) -> impl Iterator<Item = &SecretKey> {
        self.secrets.keys()
    }

    /// Whether they may be others than when this was last reset.
    pub(super) fn renamed(&mut self) -> &mut bool {
        &mut self.renamed
    }

    /// Takes note that a host, which had named the Secrets `former`, now names `now` instead.
    pub(super) fn named_by(&mut self, host: &Hostname, former: &BTreeSet<SecretKey>, now: &BTreeSet<SecretKey>) {
        for secret in former.difference(now) {
            if let Some(entry) = self.secrets.get_mut(secret) {
                entry.users.remove(host);
                self.touched.insert(secret.clone());
            }
        }
        for secret in now.difference(former) {
            self.renamed |= !self.secrets.contains_key(secret);
            self.secrets.entry(secret.clone()).or_default().users.insert(host.clone());
            self.touched.insert(secret.clone());
        }
    }

    /// Takes in what changed since the last update; `found` is told of problems that were and that are.
    pub(super) fn update(
        &mut self,
        snapshot: &Snapshot,
        changes: &[Change],
        mut found: impl FnMut(&[Problem], &[Problem]),
    ) -> Changed {
        let mut stale = std::mem::take(&mut self.touched);
        let secrets = changes.iter().map(|change| &change.key).filter(|key| key.kind == Kind::Secret);
        stale.extend(secrets.map(|key| SecretKey { namespace: key.namespace.clone(), name: key.name.clone() }));
        let mut update = Changed::default();
        for secret in stale {
            let Some(entry) = self.secrets.get_mut(&secret) else { continue };
            let former = entry.output.as_ref().map_or(&[][..], |output| &output.problems);
            if entry.users.is_empty() {
                found(former, &[]);
                self.secrets.remove(&secret);
                self.renamed = true;
                update.gone.push(secret);
                continue;
            }
            let output = translate::translate_credentials(snapshot, &secret);
            if entry.output.as_ref() != Some(&output) {
                found(former, &output.problems);
                entry.output = Some(output);
                update.changed.push(secret);
            }
        }
        update
    }
}
