//! The hosts that an Ingress can say something about.

use crate::{
    api::{HTTPIngressPath, Ingress},
    key::{Hostname, InvalidHostname},
};

use super::{
    Options,
    annotations::{CANARY_SCOPE, FROM_TO_WWW_REDIRECT, SERVER_ALIAS, shown},
};

/// Every host whose translation an Ingress can touch: those of its rules, their aliases and `www.` twins, and any host
/// where a rule has none or there is just a default.
///
/// It says so of every Ingress, also of those that turn out not to be ours: that depends on other objects.
#[must_use]
pub fn hosts_of(options: &Options, ingress: &Ingress) -> Vec<Hostname> {
    let mut hosts: Vec<_> = rules_of(ingress).filter_map(|(_, host)| host.ok()).collect();
    let default = ingress.spec.as_ref().is_some_and(|spec| spec.default_backend.is_some());
    if hosts.is_empty() || (default && !has_rules(ingress)) {
        hosts.push(Hostname::any());
    }
    let prefix = &options.annotation_prefix;
    let value = |full_name: &str| ingress.metadata.annotations.as_ref()?.get(full_name).map(|value| value.trim());
    if value(&FROM_TO_WWW_REDIRECT.annotation.full_name(prefix)).is_some() {
        let twins: Vec<_> = hosts.iter().filter_map(twin_of).collect();
        hosts.extend(twins);
    }
    if let Some(aliases) = value(&SERVER_ALIAS.annotation.full_name(prefix)) {
        hosts.extend(aliases.split(',').filter_map(|alias| alias_of(alias.trim()).ok()));
    }
    if value(&CANARY_SCOPE.annotation.full_name(prefix)).is_some() {
        hosts.extend(canaries_of(ingress.metadata.namespace.as_deref().unwrap_or_default()));
    }
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// The rules of an Ingress with their position and host.
pub(super) fn rules_of(ingress: &Ingress) -> impl Iterator<Item = (usize, Result<Hostname, InvalidHostname>)> {
    let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.as_ref());
    rules.into_iter().flatten().map(|rule| host_of(rule.host.as_deref())).enumerate()
}

/// The paths of the rules of an Ingress for a host, and where they are written.
pub(super) fn paths_on<'i>(
    ingress: &'i Ingress,
    host: &Hostname,
) -> impl Iterator<Item = (String, &'i HTTPIngressPath)> {
    let rules = ingress.spec.iter().flat_map(|spec| &spec.rules).flatten().enumerate();
    let rules = rules.filter(|(_, rule)| host_of(rule.host.as_deref()).as_ref() == Ok(host));
    rules.flat_map(|(index, rule)| {
        let paths = rule.http.iter().flat_map(|http| &http.paths).enumerate();
        paths.map(move |(place, path)| (format!("spec.rules[{index}].http.paths[{place}]"), path))
    })
}

/// The rules of an Ingress that name no path: where they are written, and their hosts.
pub(super) fn pathless_rules(ingress: &Ingress) -> impl Iterator<Item = (String, Hostname)> {
    let rules = ingress.spec.iter().flat_map(|spec| &spec.rules).flatten().enumerate();
    let pathless = rules.filter(|(_, rule)| rule.http.as_ref().is_none_or(|http| http.paths.is_empty()));
    pathless.filter_map(|(index, rule)| Some((format!("spec.rules[{index}]"), host_of(rule.host.as_deref()).ok()?)))
}

/// Whether an Ingress has a rule, be it one that cannot be served.
pub(super) fn has_rules(ingress: &Ingress) -> bool {
    rules_of(ingress).next().is_some()
}

/// The hosts that the rules of an Ingress name; any where none does.
pub(super) fn named_by(ingress: &Ingress) -> Vec<Hostname> {
    let mut hosts: Vec<_> = rules_of(ingress).filter_map(|(_, host)| host.ok()).collect();
    if hosts.is_empty() {
        hosts.push(Hostname::any());
    }
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// The host of a rule.
pub(super) fn host_of(host: Option<&str>) -> Result<Hostname, InvalidHostname> {
    match host {
        None | Some("") => Ok(Hostname::any()),
        Some(host) => Hostname::parse(host),
    }
}

/// The same host with `www.` before it, or without. A wildcard and any host have no twin.
pub(super) fn twin_of(host: &Hostname) -> Option<Hostname> {
    if host.is_any() || host.wildcard_suffix().is_some() {
        return None;
    }
    match host.as_str().strip_prefix("www.") {
        Some(rest) => Hostname::parse(rest).ok(),
        None => Hostname::parse(&format!("www.{host}")).ok(),
    }
}

/// An alias of `server-alias`.
///
/// # Errors
///
/// Says what is wrong with it.
pub(super) fn alias_of(alias: &str) -> Result<Hostname, String> {
    if alias.starts_with('~') {
        return Err(format!("{} is a regular expression", shown(alias)));
    }
    Hostname::parse(alias).map_err(|fault| format!("{} is no host: {fault}", shown(alias)))
}

/// The name under which canaries are found that reach all routes of a namespace (`canary-scope: service`). It is below
/// `.invalid`, which no client can resolve, and there is never a route for it.
pub(super) fn canaries_of(namespace: &str) -> Option<Hostname> {
    Hostname::parse(&format!("canaries.{namespace}.serin.invalid")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_are_twins_of_each_other() {
        let host = Hostname::parse("shop.example").unwrap();
        let twin = twin_of(&host).unwrap();
        assert_eq!(twin.as_str(), "www.shop.example");
        assert_eq!(twin_of(&twin), Some(host));
        assert_eq!(twin_of(&Hostname::parse("*.shop.example").unwrap()), None);
        assert_eq!(twin_of(&Hostname::any()), None);
    }

    #[test]
    fn an_ingress_without_a_host_is_for_any() {
        assert_eq!(hosts_of(&Options::default(), &Ingress::default()), [Hostname::any()]);
    }
}
