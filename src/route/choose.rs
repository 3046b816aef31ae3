//! Chooses the side of a split that serves a request.
//!
//! The order is ingress-nginx's: the session, then rules on headers and the query, then rules on cookies, then one lot
//! over all canaries. Within each, canaries are asked in the order of the split.
//!
//! What is chosen may be down. A canary without an endpoint falls back to the stable side; the stable side's `fallback`
//! serves in its place; and where neither has an endpoint, a request that would go there goes to a canary that is up and
//! has a weight, each in proportion to its share. A canary without a weight gets only whom a rule sends there, also
//! then, and one that a client is kept from by `never` stays closed to it: where nothing else is up, nobody serves.

use smallvec::SmallVec;

use super::{
    AffinityPlan, Canary, CookieRule, FieldRule, Request, Route, Side, Split, Step, Sticky, Trace, ValueMatch,
    affinity::{self, Session, SessionSide},
    canary::Odds,
    fields, sticky,
};
use crate::draw::Draw;

/// The side that serves a request.
#[derive(Debug)]
pub(super) struct Choice<'t, B> {
    pub(super) side: &'t Side<B>,
    pub(super) canary: Option<&'t Canary<B>>,
    pub(super) affinity: Option<AffinityPlan<'t>>,
    /// A cookie for the answer, which makes the weighted choice stick.
    pub(super) set_cookie: Option<Vec<u8>>,
}

/// Chooses the side; none where nothing that may serve is up.
pub(super) fn choose<'t, B, R>(
    route: &'t Route<B, R>,
    request: &impl Request,
    draw: &mut impl Draw,
    up: &impl Fn(&B) -> bool,
    trace: &mut impl Trace,
) -> Option<Choice<'t, B>> {
    let split = &route.split;
    let session = match &split.affinity {
        Some(affinity) => Session::of(affinity, split, request),
        None => Session::default(),
    };
    let mut chooser = Chooser { route, request, up, trace, closed: SmallVec::new(), point: None, set_cookie: None };
    let wanted = if split.canaries.is_empty() { Wanted::Stable } else { chooser.wanted(session.side, draw) };
    let (side, canary) = chooser.settle(wanted, draw)?;
    let affinity = affinity_plan(route, session, wanted, side, canary);
    Some(Choice { side, canary, affinity, set_cookie: chooser.set_cookie })
}

/// What affinity asks of a request to `side`. The session belongs to the side that the client has it with, or that the
/// request is meant for, also while another stands in: it would stay with that one for good otherwise.
fn affinity_plan<'t, B, R>(
    route: &'t Route<B, R>,
    session: Session,
    wanted: Wanted,
    side: &Side<B>,
    canary: Option<&Canary<B>>,
) -> Option<AffinityPlan<'t>> {
    let split = &route.split;
    let affinity = split.affinity.as_deref()?;
    let (home, of_canary) = match (session.side, wanted) {
        (SessionSide::Canary(at), _) | (SessionSide::None | SessionSide::Elsewhere, Wanted::Canary(at)) => {
            (Some(&split.canaries[at].side), split.canaries.get(at))
        }
        (SessionSide::Stable, _) | (_, Wanted::Stable) => (split.stable.as_ref().or(split.fallback.as_ref()), None),
    };
    if [canary, of_canary].into_iter().flatten().any(|canary| !canary.keeps_sessions) {
        return None;
    }
    let home = home.unwrap_or(side);
    Some(AffinityPlan {
        affinity,
        held: session.held(split, std::ptr::eq(home, side)),
        tag: affinity::tag(&home.name),
        path: route.cookie_path(),
    })
}

struct Chooser<'a, 't, B, R, Q, U, T> {
    route: &'t Route<B, R>,
    request: &'a Q,
    up: &'a U,
    trace: &'a mut T,
    /// The positions of the canaries that are closed to the client.
    closed: SmallVec<[usize; 8]>,
    /// The client's point, once it is known.
    point: Option<u64>,
    set_cookie: Option<Vec<u8>>,
}

/// What a request is meant for, whether or not it is up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Stable,
    /// The position of the canary.
    Canary(usize),
}

/// What a rule says of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// The request has no such field, or a value that decides nothing.
    Nothing,
    Canary,
    Never,
    /// The pattern cannot be matched, which keeps the request from the canary.
    Broken,
}

// === impl Chooser ===

impl<'t, B, R, Q: Request, U: Fn(&B) -> bool, T: Trace> Chooser<'_, 't, B, R, Q, U, T> {
    /// What the request is meant for.
    fn wanted(&mut self, session: SessionSide, draw: &mut impl Draw) -> Wanted {
        let rules_first = self.route.split.rules_before_affinity;
        let by_session = |chooser: &mut Self| chooser.by_session(session);
        let by_rules = |chooser: &mut Self| chooser.by_header_or_query().or_else(|| chooser.by_cookie());
        let decided = if rules_first {
            by_rules(self).or_else(|| by_session(self))
        } else {
            by_session(self).or_else(|| by_rules(self))
        };
        decided.unwrap_or_else(|| self.by_lot(draw))
    }

    fn by_session(&mut self, session: SessionSide) -> Option<Wanted> {
        let wanted = match session {
            SessionSide::None | SessionSide::Elsewhere => return None,
            // A session of a side that is down holds nobody from a canary that is up.
            SessionSide::Stable => self.stable().map(|_| Wanted::Stable)?,
            // Where rules go first, one may have closed the canary of the session.
            SessionSide::Canary(at) if self.closed.contains(&at) => return None,
            SessionSide::Canary(at) => Wanted::Canary(at),
        };
        self.trace.note(|| Step::Note(format!("the client has a session with {}", name(&self.route.split, wanted))));
        Some(wanted)
    }

    fn by_header_or_query(&mut self) -> Option<Wanted> {
        let (_, query) = fields::split_target(self.request.target());
        for (at, canary) in self.canaries() {
            let rule = &canary.rule;
            let header = rule.header.as_ref().map(|rule| {
                let answer = rule.value.ask(fields::header(self.request, &rule.name).as_deref());
                self.asked(canary, "header", rule, answer);
                answer
            });
            let query = rule.query.as_ref().map(|rule| {
                let value = query.and_then(|query| fields::parameter(query, &rule.name));
                let answer = rule.value.ask(value.as_deref());
                self.asked(canary, "query", rule, answer);
                answer
            });
            let answer = match (header, query) {
                (None, None) => continue,
                (Some(answer), None) | (None, Some(answer)) => answer,
                (Some(header), Some(query)) => header.and(query),
            };
            if let Some(wanted) = self.conclude(at, answer) {
                return Some(wanted);
            }
        }
        None
    }

    fn by_cookie(&mut self) -> Option<Wanted> {
        for (at, canary) in self.canaries() {
            let Some(CookieRule { name, value }) = &canary.rule.cookie else { continue };
            if self.closed.contains(&at) {
                continue;
            }
            let answer = value.ask(fields::cookie(self.request, name));
            self.trace.note(|| Step::Asked {
                canary: canary.ingress.to_string(),
                rule: format!("cookie {name} {value}"),
                answer: answer.to_string(),
            });
            if let Some(wanted) = self.conclude(at, answer) {
                return Some(wanted);
            }
        }
        None
    }

    /// What follows from the answer of a canary's rule; none where the next is asked.
    fn conclude(&mut self, at: usize, answer: Answer) -> Option<Wanted> {
        match answer {
            Answer::Nothing => None,
            Answer::Canary => Some(Wanted::Canary(at)),
            Answer::Never | Answer::Broken => {
                self.closed.push(at);
                None
            }
        }
    }

    /// One lot over all canaries. The parts of those that are closed or down are the stable side's, so that nobody
    /// else's odds depend on them.
    fn by_lot(&mut self, draw: &mut impl Draw) -> Wanted {
        let shares = self.canaries().map(|(_, canary)| canary.share);
        let odds = Odds::of(shares);
        if odds.is_nothing() {
            self.trace.note(|| Step::Note("no canary has a weight".to_owned()));
            return Wanted::Stable;
        }
        let sticky = self.sticky();
        let point = self.point(draw);
        let lot = point.map_or_else(|| draw.below(odds.end()), |point| odds.lot_at(point));

        let mut wanted = Wanted::Stable;
        let mut from = 0_u64;
        for (at, canary) in self.canaries() {
            let part = odds.part(canary.share);
            if (from..from.saturating_add(part)).contains(&lot) {
                if self.closed.contains(&at) {
                    self.trace.note(|| {
                        Step::Note(format!("the lot is {}'s, which is closed to the client", canary.side.name))
                    });
                } else {
                    wanted = Wanted::Canary(at);
                }
            }
            from = from.saturating_add(part);
        }
        self.trace.note(|| Step::Drawn {
            odds: odds_text(&self.route.split, &odds),
            lot: lot_text(sticky, point, lot, odds.end()),
            chosen: name(&self.route.split, wanted).to_owned(),
        });
        wanted
    }

    /// What the lot sticks to: the first canary that says so decides for all.
    fn sticky(&self) -> Option<&'t Sticky> {
        self.canaries().find_map(|(_, canary)| canary.sticky.as_ref())
    }

    /// The client's point of the line on which the shares lie; none where the request has no key.
    fn point(&mut self, draw: &mut impl Draw) -> Option<u64> {
        let sticky = self.sticky()?;
        if self.point.is_none() {
            self.point = sticky.bucket(&self.route.id.ingress, self.request);
        }
        if self.point.is_none() && matches!(sticky, Sticky::OwnCookie) {
            let (point, cookie) = sticky::new_cookie(&self.route.id.ingress, self.request, draw);
            self.set_cookie = Some(cookie);
            self.point = Some(point);
        }
        self.point
    }

    /// The side that serves, where something that may is up.
    fn settle(&mut self, wanted: Wanted, draw: &mut impl Draw) -> Option<(&'t Side<B>, Option<&'t Canary<B>>)> {
        let split = &self.route.split;
        if let Wanted::Canary(at) = wanted {
            let canary = &split.canaries[at];
            if (self.up)(&canary.side.backend) {
                return Some((&canary.side, Some(canary)));
            }
            self.trace.note(|| Step::Note(format!("{} has no endpoint", canary.side.name)));
        }
        let (side, canary) = match self.stable() {
            Some(side) => (side, None),
            None => {
                let canary = self.in_place_of_stable(draw)?;
                (&canary.side, Some(canary))
            }
        };
        if !split.stable.as_ref().is_some_and(|stable| std::ptr::eq(stable, side)) {
            self.trace.note(|| Step::Note(format!("the stable side has no endpoint: {} serves", side.name)));
        } else if wanted != Wanted::Stable {
            self.trace.note(|| Step::Note("the stable side serves".to_owned()));
        }
        Some((side, canary))
    }

    /// The stable side or what serves instead, whichever is up.
    fn stable(&self) -> Option<&'t Side<B>> {
        let split = &self.route.split;
        [&split.stable, &split.fallback].into_iter().flatten().find(|side| (self.up)(&side.backend))
    }

    /// A canary that is up, open and has a weight. What sticks in the first lot sticks in this one too.
    fn in_place_of_stable(&mut self, draw: &mut impl Draw) -> Option<&'t Canary<B>> {
        let open: SmallVec<[&Canary<B>; 8]> = self
            .canaries()
            .filter(|(at, canary)| {
                canary.share.weight > 0 && !self.closed.contains(at) && (self.up)(&canary.side.backend)
            })
            .map(|(_, canary)| canary)
            .collect();
        if open.len() < 2 {
            return open.first().copied();
        }
        let odds = Odds::of(open.iter().map(|canary| canary.share));
        let mut lot = match self.point(draw) {
            Some(point) => odds.lot_of_sum(sticky::second_point(point)),
            None => draw.below(odds.sum()),
        };
        open.iter().copied().find(|canary| {
            let part = odds.part(canary.share);
            let hit = lot < part;
            lot = lot.saturating_sub(part);
            hit
        })
    }

    /// The canaries and their positions.
    fn canaries(&self) -> impl Iterator<Item = (usize, &'t Canary<B>)> + Clone + use<'t, B, R, Q, U, T> {
        self.route.split.canaries.iter().enumerate()
    }

    fn asked(&mut self, canary: &Canary<B>, kind: &str, rule: &FieldRule, answer: Answer) {
        self.trace.note(|| Step::Asked {
            canary: canary.ingress.to_string(),
            rule: format!("{kind} {} {}", rule.name, rule.value),
            answer: answer.to_string(),
        });
    }
}

fn name<B>(split: &Split<B>, wanted: Wanted) -> &str {
    match wanted {
        Wanted::Stable => split.stable.as_ref().map_or("the stable side", |side| &side.name),
        Wanted::Canary(at) => &split.canaries[at].side.name,
    }
}

/// `shop-web-v2-80 5/100, shop-web-80 95/100`
fn odds_text<B>(split: &Split<B>, odds: &Odds) -> String {
    let part = |name: &str, part: u64| format!("{name} {part}/{}", odds.end());
    let mut parts: Vec<_> =
        split.canaries.iter().map(|canary| part(&canary.side.name, odds.part(canary.share))).collect();
    parts.push(part(name(split, Wanted::Stable), odds.end() - odds.sum()));
    parts.join(", ")
}

fn lot_text(sticky: Option<&Sticky>, point: Option<u64>, lot: u64, end: u64) -> String {
    match (sticky, point) {
        (Some(sticky), Some(point)) => {
            // As a fraction, which is what it is compared as.
            let fraction = point as f64 / 2_f64.powi(64);
            format!("{lot} of {end}, by bucket {fraction:.5} of the {sticky}")
        }
        (Some(sticky), None) => format!("{lot} of {end}, drawn, since the request has no {sticky}"),
        (None, _) => format!("{lot} of {end}, drawn"),
    }
}

// === impl ValueMatch ===

impl ValueMatch {
    /// What a rule on a field says of its value.
    fn ask(&self, value: Option<&[u8]>) -> Answer {
        let Some(value) = value else { return Answer::Nothing };
        let canary = match self {
            Self::AlwaysNever if value == b"never" => return Answer::Never,
            Self::AlwaysNever => value == b"always",
            Self::OneOf(values) => values.iter().any(|it| it.as_bytes() == value),
            Self::Pattern(pattern) => pattern.is_match(value),
            Self::Broken => return Answer::Broken,
        };
        if canary { Answer::Canary } else { Answer::Nothing }
    }
}

// === impl Answer ===

impl Answer {
    /// The answer of two rules that must both match.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Broken, _) | (_, Self::Broken) => Self::Broken,
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Canary, Self::Canary) => Self::Canary,
            _ => Self::Nothing,
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "decides nothing",
            Self::Canary => "to the canary",
            Self::Never => "kept from the canary",
            Self::Broken => "kept from the canary: the pattern does not compile",
        })
    }
}

// === impl Route ===

impl<B, R> Route<B, R> {
    /// The path that cookies of the route are for. A regex is no path, so its cookies are for the whole host.
    pub(super) fn cookie_path(&self) -> &str {
        self.path.path().map_or("/", |path| path)
    }
}
