//! Canaries of a route: who is sent to one by rule, and how many by lot.

use std::sync::Arc;

use serde::Serialize;

use super::{Pattern, Side};
use crate::key::ObjectKey;

/// A canary of a route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Canary<B> {
    /// The Ingress that it comes from.
    pub ingress: ObjectKey,
    pub side: Side<B>,
    pub rule: Rule,
    pub share: Share,
    /// What makes the weighted choice stick to a client.
    pub sticky: Option<Sticky>,
    /// Whether it shares the sessions of the stable side (`affinity-canary-behavior: sticky`).
    pub keeps_sessions: bool,
}

/// Who is sent to a canary, or kept from it, whatever the lot says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Rule {
    /// `canary-by-header`. Where a query rule is set too, both must match.
    pub header: Option<FieldRule>,
    /// `canary-by-query`.
    pub query: Option<FieldRule>,
    /// `canary-by-cookie`.
    pub cookie: Option<CookieRule>,
}

/// A rule on a header or on a parameter of the query.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FieldRule {
    pub name: Arc<str>,
    pub value: ValueMatch,
}

/// A rule on a cookie.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CookieRule {
    pub name: Arc<str>,
    pub value: ValueMatch,
}

/// Which value counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum ValueMatch {
    /// `always` is sent to the canary, `never` is kept from it; another value decides nothing.
    AlwaysNever,
    /// One of these values is sent to the canary; another decides nothing.
    OneOf(Arc<[Arc<str>]>),
    /// A value in which the pattern is found is sent to the canary; another decides nothing.
    Pattern(Pattern),
    /// A pattern that does not compile: whoever sends the field is kept on the stable side, as ingress-nginx does.
    Broken,
}

/// A canary's part of the requests that no rule decides: `weight` of `total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Share {
    pub weight: u32,
    pub total: u32,
}

/// What makes the weighted choice the same for the same client (`serin.dev/canary-sticky`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Sticky {
    /// A cookie that Serin sets: `SERIN_CANARY`.
    OwnCookie,
    /// A cookie of the application.
    Cookie(Arc<str>),
    Header(Arc<str>),
    Query(Arc<str>),
    ClientIp,
}

// === impl Canary ===

impl<B> Canary<B> {
    pub(super) fn map<C>(&self, backend: impl FnMut(&B) -> C) -> Canary<C> {
        Canary {
            ingress: self.ingress.clone(),
            side: self.side.map(backend),
            rule: self.rule.clone(),
            share: self.share,
            sticky: self.sticky.clone(),
            keeps_sessions: self.keeps_sessions,
        }
    }
}

// === impl Share ===

impl Default for Share {
    fn default() -> Self {
        Self { weight: 0, total: 100 }
    }
}
