//! Canaries of a route: who is sent to one by rule, and how many by lot.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::{Pattern, Side, sticky::OWN_COOKIE};
use crate::key::ObjectKey;

/// The finest unit of shares. The sum of 65,536 shares of it still fits a lot.
const MAX_UNIT: u64 = 1 << 48;

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
    /// A pattern that does not compile: whoever sends the field is kept from the canary, as ingress-nginx does.
    Broken,
}

/// A canary's part of the requests that no rule decides: `weight` of `total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Share {
    pub weight: u32,
    pub total: u32,
}

/// The shares of a route's canaries in a common unit.
///
/// A share is a weight over its own total, at most the whole. Where the shares sum to more than the whole, each is its
/// part of the sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    /// The whole.
    unit: u64,
    /// The sum of all shares.
    sum: u64,
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

// === impl ValueMatch ===

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlwaysNever => f.write_str("= always"),
            Self::OneOf(values) => write!(f, "= {}", values.join(" or ")),
            Self::Pattern(pattern) => write!(f, "~ {pattern}"),
            Self::Broken => f.write_str("~ a pattern that does not compile"),
        }
    }
}

// === impl Sticky ===

impl fmt::Display for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnCookie => write!(f, "cookie {OWN_COOKIE}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Query(name) => write!(f, "parameter {name}"),
            Self::ClientIp => f.write_str("client address"),
        }
    }
}

// === impl Share ===

impl Default for Share {
    fn default() -> Self {
        Self { weight: 0, total: 100 }
    }
}

impl Share {
    /// The whole that the weight is a part of; 100 where it is not set.
    pub(super) fn whole(self) -> u64 {
        if self.total == 0 { 100 } else { u64::from(self.total) }
    }
}

// === impl Odds ===

impl Odds {
    /// The odds of canaries.
    ///
    /// They are exact where the least common multiple of the totals is at most 2⁴⁸, and else off by less than 2⁻⁴⁸.
    pub(super) fn of(shares: impl Iterator<Item = Share> + Clone) -> Self {
        let mut unit = 1;
        for share in shares.clone() {
            match least_common_multiple(unit, share.whole()) {
                Some(multiple) if multiple <= MAX_UNIT => unit = multiple,
                _ => {
                    unit = MAX_UNIT;
                    break;
                }
            }
        }
        let mut odds = Self { unit, sum: 0 };
        odds.sum = shares.fold(0_u64, |sum, share| sum.saturating_add(odds.part(share)));
        odds
    }

    /// How many of the lots below [`Odds::end`] are a canary's.
    pub(super) fn part(&self, share: Share) -> u64 {
        let weight = u64::from(share.weight).min(share.whole());
        let part = u128::from(weight) * u128::from(self.unit) / u128::from(share.whole());
        u64::try_from(part).unwrap_or(self.unit)
    }

    /// How many lots there are: all is the whole, or the sum where that is more.
    pub(super) fn end(&self) -> u64 {
        self.unit.max(self.sum)
    }

    /// The sum of all shares.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// Whether no canary has a share.
    pub(super) fn is_nothing(&self) -> bool {
        self.sum == 0
    }

    /// The lot of a point of the line from 0 to 1, in units of 2⁻⁶⁴.
    pub(super) fn lot_at(&self, point: u64) -> u64 {
        scaled(point, self.end())
    }

    /// The same among the lots that are a canary's.
    pub(super) fn lot_of_sum(&self, point: u64) -> u64 {
        scaled(point, self.sum)
    }
}

/// The part of `end` that a point is of the line from 0 to 1.
fn scaled(point: u64, end: u64) -> u64 {
    u64::try_from((u128::from(point) * u128::from(end)) >> 64).unwrap_or_default()
}

fn least_common_multiple(a: u64, b: u64) -> Option<u64> {
    let (mut gcd, mut rest) = (a, b);
    while rest != 0 {
        (gcd, rest) = (rest, gcd % rest);
    }
    (a / gcd).checked_mul(b)
}
