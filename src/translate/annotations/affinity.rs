//! The annotations of session affinity.

use super::{Annotation, Group::Affinity, Kind, Prefixes, Risk, Typed, value};
use crate::route::{AffinityMode, SameSite};

pub(super) const RECORDS: &[&Annotation] = &[
    &AFFINITY.annotation,
    &AFFINITY_MODE.annotation,
    &AFFINITY_PRECEDENCE.annotation,
    &SESSION_COOKIE_NAME.annotation,
    &SESSION_COOKIE_SECURE.annotation,
    &SESSION_COOKIE_EXPIRES.annotation,
    &SESSION_COOKIE_MAX_AGE.annotation,
    &SESSION_COOKIE_PATH.annotation,
    &SESSION_COOKIE_DOMAIN.annotation,
    &SESSION_COOKIE_SAMESITE.annotation,
    &SESSION_COOKIE_CONDITIONAL_SAMESITE_NONE.annotation,
    &SESSION_COOKIE_CHANGE_ON_FAILURE.annotation,
];

pub(in crate::translate) static AFFINITY: Typed<()> = Typed::new(
    Annotation::new("affinity", Affinity, Kind::Choice(&["cookie"]))
        .doc("With `cookie`, a client comes back to the endpoint that served it."),
    |text| value::choice(text, &["cookie"]).map(|_| ()),
);

pub(in crate::translate) static AFFINITY_MODE: Typed<AffinityMode> = Typed::new(
    Annotation::new("affinity-mode", Affinity, Kind::Choice(&["balanced", "persistent"]))
        .default("balanced")
        .risk(Risk::Medium)
        .doc("Whether some sessions move when endpoints come (`balanced`), or only when theirs goes (`persistent`)."),
    |text| {
        value::choice(text, &["balanced", "persistent"])
            .map(|at| [AffinityMode::Balanced, AffinityMode::Persistent][at])
    },
);

pub(in crate::translate) static AFFINITY_PRECEDENCE: Typed<bool> = Typed::new(
    Annotation::new("affinity-precedence", Affinity, Kind::Choice(&["session", "rules"]))
        .under(Prefixes::Serin)
        .default("session")
        .doc("Whether a session wins over the header, query and cookie rules of canaries, or `rules` do."),
    |text| value::choice(text, &["session", "rules"]).map(|at| at == 1),
);

pub(in crate::translate) static SESSION_COOKIE_NAME: Typed<String> = Typed::new(
    Annotation::new("session-cookie-name", Affinity, Kind::Name)
        .default("INGRESSCOOKIE")
        .risk(Risk::Medium)
        .doc("The name of the cookie."),
    value::token,
);

pub(in crate::translate) static SESSION_COOKIE_SECURE: Typed<bool> = Typed::new(
    Annotation::new("session-cookie-secure", Affinity, Kind::Bool)
        .doc("Always marks the cookie `Secure`; otherwise it is where the request came by https."),
    value::bool,
);

pub(in crate::translate) static SESSION_COOKIE_EXPIRES: Typed<i64> = Typed::new(
    Annotation::new("session-cookie-expires", Affinity, Kind::Seconds)
        .risk(Risk::Medium)
        .doc("`Expires` of the cookie, in seconds from the answer."),
    value::number,
);

pub(in crate::translate) static SESSION_COOKIE_MAX_AGE: Typed<i64> = Typed::new(
    Annotation::new("session-cookie-max-age", Affinity, Kind::Seconds)
        .risk(Risk::Medium)
        .doc("`Max-Age` of the cookie, in seconds."),
    value::number,
);

pub(in crate::translate) static SESSION_COOKIE_PATH: Typed<String> = Typed::new(
    Annotation::new("session-cookie-path", Affinity, Kind::Path)
        .risk(Risk::Medium)
        .doc("`Path` of the cookie; otherwise the path of the route, or `/` where that is a regular expression."),
    value::cookie_path,
);

pub(in crate::translate) static SESSION_COOKIE_DOMAIN: Typed<String> = Typed::new(
    Annotation::new("session-cookie-domain", Affinity, Kind::Domain).risk(Risk::Medium).doc("`Domain` of the cookie."),
    value::attribute,
);

pub(in crate::translate) static SESSION_COOKIE_SAMESITE: Typed<SameSite> = Typed::new(
    Annotation::new("session-cookie-samesite", Affinity, Kind::Choice(&["None", "Lax", "Strict"]))
        .doc("`SameSite` of the cookie."),
    |text| {
        value::choice(text, &["None", "Lax", "Strict"]).map(|at| [SameSite::None, SameSite::Lax, SameSite::Strict][at])
    },
);

pub(in crate::translate) static SESSION_COOKIE_CONDITIONAL_SAMESITE_NONE: Typed<bool> = Typed::new(
    Annotation::new("session-cookie-conditional-samesite-none", Affinity, Kind::Bool)
        .default("false")
        .doc("Leaves `SameSite=None` out for browsers that misunderstand it."),
    value::bool,
);

pub(in crate::translate) static SESSION_COOKIE_CHANGE_ON_FAILURE: Typed<bool> = Typed::new(
    Annotation::new("session-cookie-change-on-failure", Affinity, Kind::Bool)
        .default("false")
        .doc("Sets a new cookie when another endpoint had to serve."),
    value::bool,
);
