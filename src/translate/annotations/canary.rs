//! The annotations of canaries.

use super::{Annotation, Group::Canary, Kind, Prefixes, Risk, Scope, Typed, value};
use crate::route::{CanaryBehavior, Sticky};

/// How far a canary reaches (`canary-scope`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::translate) enum CanaryScope {
    /// The host, path and path type that it names.
    #[default]
    Route,
    /// Every path of its namespace that is served by the same port of the same Service.
    Service,
}

pub(super) const RECORDS: &[&Annotation] = &[
    &CANARY.annotation,
    &CANARY_BY_HEADER.annotation,
    &CANARY_BY_HEADER_VALUE.annotation,
    &CANARY_BY_HEADER_PATTERN.annotation,
    &CANARY_BY_QUERY.annotation,
    &CANARY_BY_QUERY_VALUE.annotation,
    &CANARY_BY_QUERY_PATTERN.annotation,
    &CANARY_BY_COOKIE.annotation,
    &CANARY_BY_COOKIE_VALUE.annotation,
    &CANARY_BY_COOKIE_PATTERN.annotation,
    &CANARY_WEIGHT.annotation,
    &CANARY_WEIGHT_TOTAL.annotation,
    &CANARY_STICKY.annotation,
    &CANARY_PRIORITY.annotation,
    &CANARY_SCOPE.annotation,
    &AFFINITY_CANARY_BEHAVIOR.annotation,
];

pub(in crate::translate) static CANARY: Typed<bool> = Typed::new(
    Annotation::new("canary", Canary, Kind::Bool).on(Scope::Canary).default("false").doc(
        "Makes the Ingress a canary: it takes part of the requests of the routes with its hosts, paths and path types; \
         with a default backend alone, of those of `/` without a host.",
    ),
    value::bool,
);

pub(in crate::translate) static CANARY_BY_HEADER: Typed<String> = Typed::new(
    Annotation::new("canary-by-header", Canary, Kind::Name)
        .on(Scope::Canary)
        .doc("A header: with the value `always` a request goes to the canary, with `never` it does not."),
    value::header,
);

pub(in crate::translate) static CANARY_BY_HEADER_VALUE: Typed<Vec<String>> = Typed::new(
    Annotation::new("canary-by-header-value", Canary, Kind::Values)
        .on(Scope::Canary)
        .doc("The value of the header that counts, instead of `always` and `never`."),
    value::values,
);

pub(in crate::translate) static CANARY_BY_HEADER_PATTERN: Typed<String> = Typed::new(
    Annotation::new("canary-by-header-pattern", Canary, Kind::Pattern)
        .on(Scope::Canary)
        .risk(Risk::Medium)
        .doc("A pattern that is found in values of the header that count, instead of `always` and `never`."),
    value::text,
);

pub(in crate::translate) static CANARY_BY_QUERY: Typed<String> = Typed::new(
    Annotation::new("canary-by-query", Canary, Kind::Name).under(Prefixes::Query).on(Scope::Canary).doc(
        "A parameter of the query: `always` goes to the canary, `never` does not. With a header too, both must match.",
    ),
    value::parameter,
);

pub(in crate::translate) static CANARY_BY_QUERY_VALUE: Typed<Vec<String>> = Typed::new(
    Annotation::new("canary-by-query-value", Canary, Kind::Values)
        .under(Prefixes::Query)
        .on(Scope::Canary)
        .doc("The value of the parameter that counts, instead of `always` and `never`."),
    value::values,
);

pub(in crate::translate) static CANARY_BY_QUERY_PATTERN: Typed<String> = Typed::new(
    Annotation::new("canary-by-query-pattern", Canary, Kind::Pattern)
        .under(Prefixes::Query)
        .on(Scope::Canary)
        .risk(Risk::Medium)
        .doc("A pattern that is found in values of the parameter that count, instead of `always` and `never`."),
    value::text,
);

pub(in crate::translate) static CANARY_BY_COOKIE: Typed<String> = Typed::new(
    Annotation::new("canary-by-cookie", Canary, Kind::Name)
        .on(Scope::Canary)
        .doc("A cookie: with the value `always` a request goes to the canary, with `never` it does not."),
    value::token,
);

pub(in crate::translate) static CANARY_BY_COOKIE_VALUE: Typed<Vec<String>> = Typed::new(
    Annotation::new("canary-by-cookie-value", Canary, Kind::Values)
        .under(Prefixes::Cookie)
        .on(Scope::Canary)
        .doc("The value of the cookie that counts, instead of `always` and `never`."),
    value::values,
);

pub(in crate::translate) static CANARY_BY_COOKIE_PATTERN: Typed<String> = Typed::new(
    Annotation::new("canary-by-cookie-pattern", Canary, Kind::Pattern)
        .under(Prefixes::Cookie)
        .on(Scope::Canary)
        .risk(Risk::Medium)
        .doc("A pattern that is found in values of the cookie that count, instead of `always` and `never`."),
    value::text,
);

pub(in crate::translate) static CANARY_WEIGHT: Typed<i64> = Typed::new(
    Annotation::new("canary-weight", Canary, Kind::Number)
        .on(Scope::Canary)
        .default("0")
        .doc("How many of `canary-weight-total` requests go to the canary, of those that no rule decides."),
    value::number,
);

pub(in crate::translate) static CANARY_WEIGHT_TOTAL: Typed<i64> = Typed::new(
    Annotation::new("canary-weight-total", Canary, Kind::Number)
        .on(Scope::Canary)
        .default("100")
        .doc("The whole that `canary-weight` is a part of; what is less than 100 counts as 100."),
    value::number,
);

pub(in crate::translate) static CANARY_STICKY: Typed<Sticky> = Typed::new(
    Annotation::new(
        "canary-sticky",
        Canary,
        Kind::Choice(&["cookie", "cookie:<name>", "header:<name>", "query:<name>", "client-ip"]),
    )
    .under(Prefixes::Serin)
    .on(Scope::Canary)
    .doc(
        "What makes the choice by weight the same for the same client, on all paths and hosts of the stable Ingress: \
             `cookie` (one that Serin sets), `cookie:<name>`, `header:<name>`, `query:<name>` or `client-ip`. There is \
             one lot over all canaries of a route, so the first of them that has it decides for all.",
    ),
    sticky,
);

pub(in crate::translate) static CANARY_PRIORITY: Typed<i64> = Typed::new(
    Annotation::new("canary-priority", Canary, Kind::Number)
        .under(Prefixes::Serin)
        .on(Scope::Canary)
        .default("0")
        .doc("Where a route has several canaries, that with the highest number is asked first; of equals, the oldest."),
    value::number,
);

pub(in crate::translate) static CANARY_SCOPE: Typed<CanaryScope> = Typed::new(
    Annotation::new("canary-scope", Canary, Kind::Choice(&["route", "service"]))
        .under(Prefixes::Serin)
        .on(Scope::Canary)
        .default("route")
        .doc(
            "`service` makes a canary of a route one of every route of the namespace that the same port of the same \
             Service serves, as in ingress-nginx.",
        ),
    scope,
);

pub(in crate::translate) static AFFINITY_CANARY_BEHAVIOR: Typed<CanaryBehavior> = Typed::new(
    Annotation::new("affinity-canary-behavior", Canary, Kind::Choice(&["sticky", "legacy"]))
        .on(Scope::Canary)
        .default("sticky")
        .doc("Whether a session that began on the canary stays there (`sticky`), or the canary has none (`legacy`)."),
    behavior,
);

fn scope(text: &str) -> Result<CanaryScope, value::Fault> {
    value::choice(text, &["route", "service"]).map(|at| [CanaryScope::Route, CanaryScope::Service][at])
}

fn behavior(text: &str) -> Result<CanaryBehavior, value::Fault> {
    value::choice(text, &["sticky", "legacy"]).map(|at| [CanaryBehavior::Sticky, CanaryBehavior::Legacy][at])
}

fn sticky(text: &str) -> Result<Sticky, value::Fault> {
    let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind.trim(), Some(name.trim())));
    Ok(match (kind, name) {
        ("cookie", None) => Sticky::OwnCookie,
        ("client-ip", None) => Sticky::ClientIp,
        ("cookie" | "header" | "query", Some("")) => return Err("names nothing after the colon".to_owned()),
        ("cookie", Some(name)) => Sticky::Cookie(value::token(name)?.into()),
        ("header", Some(name)) => Sticky::Header(value::header(name)?.into()),
        ("query", Some(name)) => Sticky::Query(value::parameter(name)?.into()),
        _ => {
            return Err("is nothing that a choice could stick to".to_owned());
        }
    })
}
