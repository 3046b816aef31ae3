//! What the annotations of one Ingress ask for.

use std::sync::Arc;

use crate::{
    api::Ingress,
    key::{Hostname, Via},
    problem::{Level, Problem, Reason},
    route::{
        Affinity, Algorithm, Balance, CanaryBehavior, ClientCertificates, CookieRule, FieldRule, Pattern, PatternFlags,
        Policy, Redirect, Rule, Share, Sticky, ValueMatch,
    },
    store::Observed,
};

use super::{
    Options,
    annotations::{self as known, CanaryScope, Found, Reader, Support, Typed, shown},
    hosts::alias_of,
    spoken::Spoken,
};

/// What the annotations of an Ingress ask for.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) kind: Kind,
    pub(super) balance: Balance,
    pub(super) via: Via,
}

/// What an Ingress is.
#[derive(Debug)]
pub(super) enum Kind {
    Stable(Box<Stable>),
    Canary(Box<CanarySettings>),
}

/// What an Ingress asks for that is no canary.
#[derive(Debug)]
pub(super) struct Stable {
    /// Without rewrite and redirect to https, which depend on path and host.
    pub(super) policy: Policy,
    pub(super) ssl_redirect: bool,
    pub(super) force_ssl_redirect: bool,
    pub(super) use_regex: bool,
    pub(super) rewrite_target: Option<Arc<str>>,
    pub(super) app_root: Option<Arc<str>>,
    pub(super) www_redirect: bool,
    pub(super) aliases: Vec<Hostname>,
    /// The Service of `default-backend`.
    pub(super) fallback: Option<String>,
    pub(super) affinity: Option<Affinity>,
    pub(super) rules_before_affinity: bool,
    /// Annotations that count on its canaries alone, which release tools copy there: full name and value.
    pub(super) for_canaries: Vec<(String, String)>,
    /// What is asked of the certificates of the clients of its hosts.
    pub(super) client_certificates: Option<ClientCertificates>,
    /// Whether the paths would be open to more than the object allows.
    pub(super) closed: bool,
    /// Whether all paths of its hosts would.
    pub(super) closes_hosts: bool,
}

/// What a canary asks for.
#[derive(Debug)]
pub(super) struct CanarySettings {
    pub(super) rule: Rule,
    pub(super) share: Share,
    pub(super) sticky: Option<Sticky>,
    pub(super) priority: i64,
    pub(super) scope: CanaryScope,
    pub(super) keeps_sessions: bool,
    /// Annotations that have no effect on a canary: full name and value.
    pub(super) idle: Vec<(String, String)>,
}

/// A rule is set and cannot be used, which is told.
struct Unusable;

/// Why an annotation has no effect.
#[derive(Clone, Copy)]
pub(super) enum Idle {
    /// It needs another, which is not set.
    Without(&'static str),
    /// Another is set, which wins.
    Beside(&'static str),
}

// === impl Settings ===

impl Settings {
    /// Reads the annotations of an Ingress. Returns also what is wrong with them.
    pub(super) fn read(options: &Options, ingress: &Observed<Ingress>) -> (Self, Vec<Problem>) {
        let mut reader = Reader::new(&options.annotation_prefix, ingress);
        reader.tell_empty();
        let service_upstream = reader.get_or(&known::SERVICE_UPSTREAM, options.service_upstream);
        let via = if service_upstream { Via::ClusterIp } else { Via::Endpoints };
        let balance = balance(&mut reader, options);
        let kind = if reader.get_or(&known::CANARY, false) {
            Kind::Canary(Box::new(canary(&mut reader)))
        } else {
            tell_canary_off(&mut reader);
            Kind::Stable(Box::new(stable(&mut reader, options)))
        };
        (Self { kind, balance, via }, reader.into_problems())
    }

    /// What it asks for, where it is no canary.
    pub(super) fn stable(&self) -> Option<&Stable> {
        match &self.kind {
            Kind::Stable(stable) => Some(stable),
            Kind::Canary(_) => None,
        }
    }

    /// What it asks for, where it is a canary.
    pub(super) fn canary(&self) -> Option<&CanarySettings> {
        match &self.kind {
            Kind::Stable(_) => None,
            Kind::Canary(canary) => Some(canary),
        }
    }
}

fn balance(reader: &mut Reader<'_>, options: &Options) -> Balance {
    let algorithm = reader.get(&known::LOAD_BALANCE);
    let subset = reader.get_or(&known::UPSTREAM_HASH_BY_SUBSET, false);
    let size = reader.get_or(&known::UPSTREAM_HASH_BY_SUBSET_SIZE, 3);
    if let Some(key) = reader.get(&known::UPSTREAM_HASH_BY) {
        if let Some(Algorithm::Ewma | Algorithm::LeastConnections) = algorithm {
            tell_idle(reader, &known::LOAD_BALANCE.annotation, Idle::Beside("upstream-hash-by"));
        }
        if !subset {
            let size = &known::UPSTREAM_HASH_BY_SUBSET_SIZE.annotation;
            tell_idle(reader, size, Idle::Without("upstream-hash-by-subset: \"true\""));
        }
        let algorithm = if subset { Algorithm::HashSubset(size) } else { Algorithm::Hash };
        return Balance { algorithm, hash_by: Some(key) };
    }
    if reader.set(&known::UPSTREAM_HASH_BY.annotation).is_none() {
        for annotation in [&known::UPSTREAM_HASH_BY_SUBSET.annotation, &known::UPSTREAM_HASH_BY_SUBSET_SIZE.annotation]
        {
            tell_idle(reader, annotation, Idle::Without("upstream-hash-by"));
        }
    }
    tell_algorithm_without_key(reader);
    match algorithm {
        Some(algorithm) => Balance { algorithm, hash_by: None },
        None => options.balance.clone(),
    }
}

/// Tells that an algorithm lacks the annotation that chooses by what.
fn tell_algorithm_without_key(reader: &mut Reader<'_>) {
    let Some(found) = reader.set(&known::LOAD_BALANCE.annotation) else { return };
    let (key, mend) = match found.value {
        "chash" | "chashsubset" => {
            (&known::UPSTREAM_HASH_BY.annotation, "Write `upstream-hash-by`, such as `$request_uri`")
        }
        "sticky_balanced" | "sticky_persistent" => (&known::AFFINITY.annotation, "Write `affinity: cookie`"),
        _ => return,
    };
    if reader.set(key).is_none() {
        reader.tell(
            found,
            Level::Warning,
            Reason::Unsupported,
            format!("{} has no effect without `{}`", shown(found.value), key.name),
            "Endpoints take turns",
            mend,
        );
    }
}

fn stable(reader: &mut Reader<'_>, options: &Options) -> Stable {
    let spoken = Spoken::read(reader);
    let closed = spoken.closed || closing(reader).next().is_some();
    let mut policy = policy(reader, options);
    spoken.apply(&mut policy);
    let settings = Stable {
        policy,
        ssl_redirect: reader.get_or(&known::SSL_REDIRECT, options.ssl_redirect),
        force_ssl_redirect: reader.get_or(&known::FORCE_SSL_REDIRECT, options.force_ssl_redirect),
        use_regex: reader.get_or(&known::USE_REGEX, false),
        rewrite_target: reader.get(&known::REWRITE_TARGET).map(Arc::from),
        app_root: reader.get(&known::APP_ROOT).map(Arc::from),
        www_redirect: reader.get_or(&known::FROM_TO_WWW_REDIRECT, false),
        aliases: aliases(reader),
        fallback: reader.get(&known::DEFAULT_BACKEND),
        affinity: affinity(reader),
        rules_before_affinity: reader.get_or(&known::AFFINITY_PRECEDENCE, false),
        for_canaries: for_canaries(reader),
        client_certificates: client_certificates(reader),
        closed,
        closes_hosts: closing(reader).any(|found| found.annotation.scope == known::Scope::Host),
    };
    reader.tell_support();
    settings
}

fn policy(reader: &mut Reader<'_>, options: &Options) -> Policy {
    let mut policy = options.policy.clone();
    policy.redirect = redirect(reader);
    policy.preserve_trailing_slash = reader.get_or(&known::PRESERVE_TRAILING_SLASH, policy.preserve_trailing_slash);
    policy.upstream_host = reader.get(&known::UPSTREAM_VHOST);
    if let Some(size) = reader.get(&known::PROXY_BODY_SIZE) {
        policy.body_limit = (size > 0).then_some(size);
    }
    let timeouts = &mut policy.timeouts;
    timeouts.connect = reader.get_or(&known::PROXY_CONNECT_TIMEOUT, timeouts.connect);
    timeouts.send = reader.get_or(&known::PROXY_SEND_TIMEOUT, timeouts.send);
    timeouts.read = reader.get_or(&known::PROXY_READ_TIMEOUT, timeouts.read);
    let retry = &mut policy.retry;
    retry.on = reader.get_or(&known::PROXY_NEXT_UPSTREAM, retry.on);
    retry.timeout = reader.get_or(&known::PROXY_NEXT_UPSTREAM_TIMEOUT, retry.timeout);
    retry.tries = reader.get_or(&known::PROXY_NEXT_UPSTREAM_TRIES, retry.tries);
    policy.access_log = reader.get_or(&known::ENABLE_ACCESS_LOG, policy.access_log);
    policy
}

/// The fixed redirect; the temporary one wins.
fn redirect(reader: &mut Reader<'_>) -> Option<Redirect> {
    let permanent = reader.get(&known::PERMANENT_REDIRECT);
    let permanent_code = reader.get_or(&known::PERMANENT_REDIRECT_CODE, 301);
    let temporal = reader.get(&known::TEMPORAL_REDIRECT);
    let temporal_code = reader.get_or(&known::TEMPORAL_REDIRECT_CODE, 302);
    if permanent.is_some() && temporal.is_some() {
        tell_idle(reader, &known::PERMANENT_REDIRECT.annotation, Idle::Beside("temporal-redirect"));
    }
    for (redirect, code) in [
        (&known::PERMANENT_REDIRECT, &known::PERMANENT_REDIRECT_CODE),
        (&known::TEMPORAL_REDIRECT, &known::TEMPORAL_REDIRECT_CODE),
    ] {
        if reader.set(&redirect.annotation).is_none() {
            tell_idle(reader, &code.annotation, Idle::Without(redirect.annotation.name));
        }
    }
    let (location, status) = match (temporal, permanent) {
        (Some(location), _) => (location, temporal_code),
        (None, Some(location)) => (location, permanent_code),
        (None, None) => return None,
    };
    Some(Redirect { status, location: location.into() })
}

fn aliases(reader: &mut Reader<'_>) -> Vec<Hostname> {
    let mut aliases = Vec::new();
    let Some(found) = reader.set(&known::SERVER_ALIAS.annotation) else { return aliases };
    for alias in reader.get(&known::SERVER_ALIAS).unwrap_or_default() {
        match alias_of(&alias) {
            Ok(alias) => aliases.push(alias),
            Err(fault) => {
                let (reason, mend) = if alias.starts_with('~') {
                    (Reason::Refused, "Write each name, or a wildcard for one label, as in `*.shop.example`")
                } else {
                    (Reason::InvalidValue, "Write names of hosts with commas between")
                };
                reader.tell(found, Level::Error, reason, fault, "Requests for it are not served by this Ingress", mend);
            }
        }
    }
    aliases
}

fn affinity(reader: &mut Reader<'_>) -> Option<Affinity> {
    if reader.get(&known::AFFINITY).is_none() {
        if reader.set(&known::AFFINITY.annotation).is_none() {
            let of_affinity = |found: &&Found<'_>| found.annotation.group == known::Group::Affinity;
            let idle: Vec<_> = reader.found().iter().filter(of_affinity).map(|found| found.annotation).collect();
            for annotation in idle {
                tell_idle(reader, annotation, Idle::Without("affinity: cookie"));
            }
        }
        return None;
    }
    let text = |text: Option<String>| text.map(Arc::from);
    Some(Affinity {
        mode: reader.get(&known::AFFINITY_MODE).unwrap_or_default(),
        cookie_name: reader.get(&known::SESSION_COOKIE_NAME).map_or_else(|| "INGRESSCOOKIE".into(), Arc::from),
        max_age: reader.get(&known::SESSION_COOKIE_MAX_AGE),
        expires: reader.get(&known::SESSION_COOKIE_EXPIRES),
        path: text(reader.get(&known::SESSION_COOKIE_PATH)),
        domain: text(reader.get(&known::SESSION_COOKIE_DOMAIN)),
        same_site: reader.get(&known::SESSION_COOKIE_SAMESITE),
        conditional_same_site_none: reader.get_or(&known::SESSION_COOKIE_CONDITIONAL_SAMESITE_NONE, false),
        // "false" is what holds without it: secure where the request was.
        secure: reader.get(&known::SESSION_COOKIE_SECURE).filter(|secure| *secure),
        change_on_failure: reader.get_or(&known::SESSION_COOKIE_CHANGE_ON_FAILURE, false),
    })
}

/// What is asked of the certificates of clients, so that hosts that ask for the same can be told.
fn client_certificates(reader: &Reader<'_>) -> Option<ClientCertificates> {
    let value = |name: &str| {
        let found = reader.found().iter().find(|found| found.annotation.name == name);
        found.map(|found| found.value).filter(|value| !value.is_empty())
    };
    value("auth-tls-secret").filter(|_| value("auth-tls-verify-client") != Some("off"))?;
    let asked = ["auth-tls-secret", "auth-tls-verify-client", "auth-tls-verify-depth", "auth-tls-match-cn"];
    let words: Vec<_> = asked.iter().filter_map(|name| Some(format!("{name}={}", value(name)?))).collect();
    Some(ClientCertificates::new(words.join(" ")))
}

/// What would keep requests out, and is not built. It fails closed.
fn closing<'r, 'a>(reader: &'r Reader<'a>) -> impl Iterator<Item = &'r Found<'a>> {
    let set = |found: &&Found<'_>| !found.value.is_empty() && found.annotation.support == Support::NotYetClosed;
    reader.found().iter().filter(set)
}

fn canary(reader: &mut Reader<'_>) -> CanarySettings {
    let header =
        field_rule(reader, &known::CANARY_BY_HEADER, &known::CANARY_BY_HEADER_VALUE, &known::CANARY_BY_HEADER_PATTERN);
    let query =
        field_rule(reader, &known::CANARY_BY_QUERY, &known::CANARY_BY_QUERY_VALUE, &known::CANARY_BY_QUERY_PATTERN);
    let cookie =
        field_rule(reader, &known::CANARY_BY_COOKIE, &known::CANARY_BY_COOKIE_VALUE, &known::CANARY_BY_COOKIE_PATTERN);
    let (header, query) = both_or_neither(reader, header, query);
    let cookie = cookie.unwrap_or_default().map(|FieldRule { name, value }| CookieRule { name, value });
    let rule = Rule { header, query, cookie };
    let share = share(reader);
    if rule == Rule::default() {
        tell_without_rule(reader);
    }
    let behavior = reader.get(&known::AFFINITY_CANARY_BEHAVIOR).unwrap_or_default();
    let idle = reader.found().iter().filter(|found| !found.annotation.counts_on_canary());
    let idle = idle.map(|found| (found.name.to_owned(), found.value.to_owned())).collect();
    CanarySettings {
        rule,
        share,
        sticky: reader.get(&known::CANARY_STICKY),
        priority: reader.get_or(&known::CANARY_PRIORITY, 0),
        scope: reader.get(&known::CANARY_SCOPE).unwrap_or_default(),
        keeps_sessions: behavior == CanaryBehavior::Sticky,
        idle,
    }
}

/// The rules on a header and on a parameter, which must both match where both are set: without the one, the other alone
/// would send more requests to the canary than the object asks for.
fn both_or_neither(
    reader: &mut Reader<'_>,
    header: Result<Option<FieldRule>, Unusable>,
    query: Result<Option<FieldRule>, Unusable>,
) -> (Option<FieldRule>, Option<FieldRule>) {
    let (left, other) = match (header, query) {
        (Ok(header), Ok(query)) => return (header, query),
        (Err(Unusable), Ok(Some(_))) => (&known::CANARY_BY_QUERY, &known::CANARY_BY_HEADER),
        (Ok(Some(_)), Err(Unusable)) => (&known::CANARY_BY_HEADER, &known::CANARY_BY_QUERY),
        (Err(Unusable), _) | (_, Err(Unusable)) => return (None, None),
    };
    if let Some(found) = reader.set(&left.annotation) {
        let other = other.annotation.name;
        reader.tell(
            found,
            Level::Error,
            Reason::InvalidValue,
            format!("It counts only together with `{other}`, which cannot be used"),
            "The rule is not used",
            format!("Correct or remove `{other}`"),
        );
    }
    (None, None)
}

/// The rule on a header, a parameter or a cookie, where it is set.
fn field_rule(
    reader: &mut Reader<'_>,
    by: &Typed<String>,
    value: &Typed<Vec<String>>,
    pattern: &Typed<String>,
) -> Result<Option<FieldRule>, Unusable> {
    const EFFECT: &str = "The rule is not used";
    if reader.set(&by.annotation).is_none() {
        tell_idle(reader, &value.annotation, Idle::Without(by.annotation.name));
        tell_idle(reader, &pattern.annotation, Idle::Without(by.annotation.name));
        return Ok(None);
    }
    let name = reader.get_else(by, EFFECT).ok_or(Unusable)?.into();
    let values = reader.get_else(value, EFFECT);
    if values.is_none() && reader.set(&value.annotation).is_some() {
        return Err(Unusable);
    }
    let value = match (values, reader.get(pattern)) {
        (Some(values), other) => {
            if other.is_some() {
                tell_idle(reader, &pattern.annotation, Idle::Beside(value.annotation.name));
            }
            ValueMatch::OneOf(values.into_iter().map(Arc::from).collect())
        }
        (None, Some(source)) => value_pattern(reader, pattern, &source),
        (None, None) => ValueMatch::AlwaysNever,
    };
    Ok(Some(FieldRule { name, value }))
}

fn value_pattern(reader: &mut Reader<'_>, annotation: &Typed<String>, source: &str) -> ValueMatch {
    let found = reader.set(&annotation.annotation);
    match Pattern::new(source, PatternFlags::VALUE) {
        Ok(pattern) => {
            if let Some(found) = found.filter(|_| pattern.backtracks()) {
                reader.tell(
                    found,
                    Level::Warning,
                    Reason::Differs,
                    format!("{} needs look-around, back-references or the like", shown(source)),
                    "It is searched within a limit; a search that is given up found nothing",
                    "Write it without them",
                );
            }
            ValueMatch::Pattern(pattern)
        }
        Err(fault) => {
            if let Some(found) = found {
                reader.tell(
                    found,
                    Level::Error,
                    Reason::InvalidValue,
                    format!("{} is no pattern that can be used: {fault}", shown(source)),
                    "Requests that it would be asked about are kept from this canary",
                    found.annotation.kind.mend(),
                );
            }
            ValueMatch::Broken
        }
    }
}

/// The share of a canary by `canary-weight` and `canary-weight-total`.
fn share(reader: &mut Reader<'_>) -> Share {
    let total = reader.get_or(&known::CANARY_WEIGHT_TOTAL, 100);
    if let Some(found) = reader.set(&known::CANARY_WEIGHT_TOTAL.annotation).filter(|_| total < 100) {
        reader.tell(
            found,
            Level::Warning,
            Reason::InvalidValue,
            format!("{} is less than 100", shown(found.value)),
            "It counts as 100, as in ingress-nginx",
            "Write at least `\"100\"`, and a weight to match",
        );
    }
    if reader.set(&known::CANARY_WEIGHT.annotation).is_none() {
        tell_idle(reader, &known::CANARY_WEIGHT_TOTAL.annotation, Idle::Without("canary-weight"));
    }
    let total = total.clamp(100, u32::MAX.into());
    let weight = reader.get_or(&known::CANARY_WEIGHT, 0);
    if let Some(found) = reader.set(&known::CANARY_WEIGHT.annotation) {
        let told = if weight < 0 {
            Some((Level::Error, "is negative".to_owned(), "It counts as 0: no request is sent to the canary by weight"))
        } else if weight > total {
            Some((
                Level::Warning,
                format!("is more than the total, {total}"),
                "All requests that no rule decides go to the canary",
            ))
        } else {
            None
        };
        if let Some((level, fault, effect)) = told {
            let fault = format!("{} {fault}", shown(found.value));
            reader.tell(found, level, Reason::InvalidValue, fault, effect, format!("Write a number from 0 to {total}"));
        }
    }
    let bounded = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    Share { weight: bounded(weight.clamp(0, total)), total: bounded(total) }
}

/// Tells that nothing sends requests to a canary, unless its weight says so: tools write a weight of 0 between releases.
fn tell_without_rule(reader: &mut Reader<'_>) {
    let rules = [
        &known::CANARY_WEIGHT.annotation,
        &known::CANARY_BY_HEADER.annotation,
        &known::CANARY_BY_QUERY.annotation,
        &known::CANARY_BY_COOKIE.annotation,
    ];
    if rules.into_iter().any(|annotation| reader.set(annotation).is_some()) {
        return;
    }
    if let Some(found) = reader.set(&known::CANARY.annotation) {
        reader.tell(
            found,
            Level::Warning,
            Reason::CanaryWithoutRule,
            "The canary has neither a rule nor a weight",
            "No request is sent to it",
            "Write `canary-weight`, `canary-by-header`, `canary-by-cookie` or `canary-by-query`",
        );
    }
}

/// Tells that annotations of a canary stand on an Ingress that is none. Those that release tools copy to the canary that
/// they make are told where canaries are known.
fn tell_canary_off(reader: &mut Reader<'_>) {
    let meant = |found: &&Found<'_>| found.annotation.name != known::CANARY.annotation.name && !found.value.is_empty();
    let mut of_canary = reader.found().iter().filter(|found| found.annotation.scope == known::Scope::Canary);
    let Some(found) = of_canary.find(|found| meant(found) && !reader.is_copied(found)).copied() else { return };
    reader.tell(
        found,
        Level::Error,
        Reason::Unsupported,
        format!("`{}` has no effect without `canary: \"true\"`", found.annotation.name),
        "The Ingress is an ordinary one: it serves its paths itself, unless an older one does",
        "Write `canary: \"true\"`, or remove it",
    );
}

/// The annotations of canaries that release tools copy from a stable Ingress: full name and value.
fn for_canaries(reader: &Reader<'_>) -> Vec<(String, String)> {
    let of_canary = reader.found().iter().filter(|found| found.annotation.scope == known::Scope::Canary);
    let copied = of_canary.filter(|found| !found.value.is_empty() && reader.is_copied(found));
    copied.map(|found| (found.name.to_owned(), found.value.to_owned())).collect()
}

/// Tells that an annotation has no effect.
pub(super) fn tell_idle(reader: &mut Reader<'_>, annotation: &known::Annotation, why: Idle) {
    let Some(found) = reader.set(annotation) else { return };
    let (why, mend) = match why {
        Idle::Without(other) => (format!("without `{other}`"), format!("Remove it, or write `{other}`")),
        Idle::Beside(other) => (format!("where `{other}` is set"), "Remove one of them".to_owned()),
    };
    let fault = format!("`{}` has no effect {why}", annotation.name);
    reader.tell(found, Level::Warning, Reason::Unsupported, fault, "It is ignored", mend);
}
