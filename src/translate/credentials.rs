//! What a Secret holds for TLS to endpoints.

use std::sync::Arc;

use crate::{
    key::SecretKey,
    problem::{Level, Problem, Reason},
    store::Snapshot,
    tls::{Credentials, SecretData},
};

use super::CredentialsOutput;

/// What follows where a Secret cannot be used.
pub(super) const LAST_GOOD: &str = "What it held before is used as long as the process runs; without that, requests that \
                                    need it are answered 502";

/// Translates one Secret. Whoever names one that is not there is told so; what is wrong with one that is, is told on it.
#[must_use]
pub fn translate_credentials(snapshot: &Snapshot, key: &SecretKey) -> CredentialsOutput {
    let mut output = CredentialsOutput { key: key.clone(), credentials: None, problems: Vec::new() };
    let Some(secret) = snapshot.secret(&key.namespace, &key.name) else { return output };
    let part = |name: &str| secret.data.as_ref().and_then(|data| data.get(name)).map(|bytes| &*bytes.0);
    let data = SecretData { authorities: part("ca.crt"), certificate: part("tls.crt"), key: part("tls.key") };
    match Credentials::parse(data) {
        Ok(credentials) => output.credentials = Some(Arc::new(credentials)),
        Err(fault) => output.problems.push(Problem {
            object: secret.key.clone(),
            field: fault.file().map_or_else(|| "data".to_owned(), |file| format!("data[{file}]")),
            level: Level::Error,
            reason: Reason::InvalidValue,
            fault: fault.to_string(),
            effect: LAST_GOOD.to_owned(),
            mend: fault.mend().to_owned(),
        }),
    }
    output
}
