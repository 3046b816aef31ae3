//! Which endpoint is next.
//!
//! All algorithms choose among the same candidates: endpoints that were not tried for this request and are not passed
//! over for their failures. Where that leaves none, those that are passed over are candidates too: a request that
//! would otherwise certainly fail is worth a try.

use std::net::IpAddr;

use serde::Serialize;

use super::{
    clients::Clients, endpoint::EndpointId, health::Admission, lease::Lease, positions::Position, set::EndpointSet,
};
use crate::draw::Draw;

/// What is added to an average of answer times, in microseconds, so that requests in flight count also where there
/// was no answer yet: differences below a millisecond matter little.
const QUICK: f32 = 1_000.0;

/// How the next endpoint is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// In turn, each as often as its weight says, spread as evenly as can be.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastConnections,
    /// Of two drawn by lot, the one with the lower average of answer times, times its requests in flight.
    Ewma,
    /// By a consistent hash.
    Hash,
    /// By lot among so many endpoints, which a consistent hash chooses.
    HashSubset(u32),
}

/// What is wanted of the next endpoint for a request.
///
/// What ties the request most tightly decides: its session, then the hash, then its client's address where the
/// Service asks for that, then the algorithm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    pub algorithm: Algorithm,
    /// What the algorithms by hash choose by; without it, they choose in turn.
    pub hash: Option<u64>,
    pub session: Option<Session>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The endpoints that have been tried, which are not asked again.
    pub tried: &'a [EndpointId],
}

/// What a session knows of its endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Session {
    /// A key: its endpoint follows by consistent hash, and may be another when endpoints come and go.
    Key(u64),
    /// The tag of its endpoint, which it keeps as long as that stays.
    Endpoint(u64),
}

/// A choice to be made.
pub(super) struct Choice<'a> {
    set: &'a EndpointSet,
    wanted: &'a Wanted<'a>,
    now: u64,
    /// Whether endpoints that are passed over are candidates too.
    panic: bool,
}

/// What was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Chosen {
    index: usize,
    /// Whether the request was tied to another.
    displaced: bool,
}

// === impl Choice ===

impl<'a> Choice<'a> {
    pub(super) fn new(set: &'a EndpointSet, wanted: &'a Wanted<'a>, now: u64) -> Self {
        Self { set, wanted, now, panic: false }
    }

    /// Chooses an endpoint and takes a lease of it. None where all have been tried.
    pub(super) fn lease(mut self, position: &mut Position, draw: &mut impl Draw) -> Option<Lease> {
        loop {
            let Some(chosen) = self.choose(position, draw) else {
                if self.panic {
                    return None;
                }
                self.panic = true;
                continue;
            };
            let endpoint = &self.set.endpoints()[chosen.index];
            let admission = if self.panic { Some(Admission::Panic) } else { endpoint.health.admit(self.now) };
            // Where another worker has just taken the probe or met a failure, this one is no candidate any more.
            if let Some(admission) = admission {
                return Some(Lease::new(endpoint.clone(), admission, chosen.displaced));
            }
        }
    }

    fn choose(&self, position: &mut Position, draw: &mut impl Draw) -> Option<Chosen> {
        match self.wanted.session {
            Some(Session::Key(key)) => return self.by_hash(key),
            Some(Session::Endpoint(tag)) => return self.by_tag(tag),
            None => {}
        }
        match (self.wanted.algorithm, self.wanted.hash) {
            (Algorithm::Hash, Some(key)) => return self.by_hash(key),
            (Algorithm::HashSubset(size), Some(key)) => return self.by_subset(key, size as usize, position, draw),
            _ => {}
        }
        if let (Some(clients), Some(client)) = (self.set.clients(), self.wanted.client) {
            return self.by_client(clients, client);
        }
        let index = match self.wanted.algorithm {
            Algorithm::LeastConnections => self.least_connections(position),
            Algorithm::Ewma => self.ewma(draw),
            Algorithm::RoundRobin | Algorithm::Hash | Algorithm::HashSubset(_) => self.round_robin(position, draw),
        }?;
        Some(Chosen { index, displaced: false })
    }
    /// Whether the endpoint at `index` is a candidate.
    fn admits(&self, index: usize) -> bool {
        let endpoint = &self.set.endpoints()[index];
        (self.panic || endpoint.health.admits(self.now)) && !self.wanted.tried.contains(&endpoint.id())
    }

    /// The places of all candidates.
    fn candidates(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.set.len()).filter(|&index| self.admits(index))
    }

    /// In turn. Where the one whose turn it is cannot be had, the others take its share in turn.
    fn round_robin(&self, position: &mut Position, draw: &mut impl Draw) -> Option<usize> {
        if let Some(weights) = self.set.weights() {
            return self.weighted_round_robin(weights, position, draw);
        }
        let index = position.next % self.set.len();
        if self.admits(index) {
            position.next = index + 1;
            return Some(index);
        }
        let candidates = self.candidates().count();
        if candidates == 0 {
            return None;
        }
        position.next = index + 1;
        let spare = position.spare % candidates;
        position.spare = spare + 1;
        self.candidates().nth(spare)
    }

    /// In turn by weight, the turns of each spread out: every candidate gains its weight, and who is furthest ahead
    /// serves and pays what all gained.
    fn weighted_round_robin(&self, weights: &[u32], position: &mut Position, draw: &mut impl Draw) -> Option<usize> {
        if position.set != self.set.number() {
            position.set = self.set.number();
            position.ahead.clear();
            position.ahead.resize(weights.len(), 0);
            for _ in 0..draw.below(weights.len() as u64) {
                turn(&mut position.ahead, weights, 0..weights.len());
            }
        }
        turn(&mut position.ahead, weights, self.candidates())
    }

    /// The fewest requests in flight for the weight; of equals the next in turn.
    fn least_connections(&self, position: &mut Position) -> Option<usize> {
        let len = self.set.len();
        let first = position.next % len;
        let mut least: Option<(u64, u64, usize)> = None;
        for index in (first..len).chain(0..first).filter(|&index| self.admits(index)) {
            let in_flight = u64::from(self.set.endpoints()[index].in_flight()) + 1;
            let weight = u64::from(self.set.weight(index));
            if least.is_none_or(|(least, of, _)| in_flight * of < least * weight) {
                least = Some((in_flight, weight, index));
            }
        }
        let (_, _, index) = least?;
        position.next = first + 1;
        Some(index)
    }

    /// The cheaper of two candidates that are drawn by lot.
    fn ewma(&self, draw: &mut impl Draw) -> Option<usize> {
        let [a, b] = two_below(self.set.len(), draw)?;
        if self.admits(a) && self.admits(b) {
            return Some(self.cheaper(a, b));
        }
        let [a, b] = two_below(self.candidates().count(), draw)?;
        let (a, b) = (self.candidates().nth(a)?, self.candidates().nth(b)?);
        Some(self.cheaper(a, b))
    }

    fn cheaper(&self, a: usize, b: usize) -> usize {
        let cost = |index: usize| {
            let endpoint = &self.set.endpoints()[index];
            let in_flight = (endpoint.in_flight() + 1) as f32 / self.set.weight(index) as f32;
            (endpoint.latency.micros(self.now) + QUICK) * in_flight
        };
        if cost(b) < cost(a) { b } else { a }
    }

    /// The endpoint with the highest score for `key`, or the candidate with the highest.
    fn by_hash(&self, key: u64) -> Option<Chosen> {
        let highest = |(_, score): &(usize, u64)| *score;
        let (first, _) = self.set.scores(key).enumerate().max_by_key(highest)?;
        if self.admits(first) {
            return Some(Chosen { index: first, displaced: false });
        }
        let scores = self.set.scores(key).enumerate();
        let (index, _) = scores.filter(|&(index, _)| self.admits(index)).max_by_key(highest)?;
        Some(Chosen { index, displaced: true })
    }

    /// The endpoint with a tag; where it cannot be had, always the same other one.
    fn by_tag(&self, tag: u64) -> Option<Chosen> {
        match self.set.find(|other| other == tag) {
            Some(index) if self.admits(index) => Some(Chosen { index, displaced: false }),
            _ => Some(Chosen { displaced: true, ..self.by_hash(tag)? }),
        }
    }

    /// By lot among the candidates of the `size` highest scores; where there are none, the next highest.
    fn by_subset(&self, key: u64, size: usize, position: &mut Position, draw: &mut impl Draw) -> Option<Chosen> {
        let ranks = &mut position.ranks;
        ranks.clear();
        ranks.extend(self.set.scores(key).zip(0..));
        let size = size.max(1);
        if size < ranks.len() {
            ranks.select_nth_unstable_by(size - 1, |a, b| b.cmp(a));
            ranks.truncate(size);
        }
        let candidates = || ranks.iter().map(|&(_, index)| index as usize).filter(|&index| self.admits(index));
        match candidates().count() {
            0 => Some(Chosen { displaced: true, ..self.by_hash(key)? }),
            count => {
                let index = candidates().nth(draw.below(count as u64) as usize)?;
                Some(Chosen { index, displaced: false })
            }
        }
    }

    /// The endpoint that the client had within the timeout, or else one by its hash.
    fn by_client(&self, clients: &Clients, client: IpAddr) -> Option<Chosen> {
        let place = clients.place(client);
        let had = clients.endpoint(place, self.set, self.now);
        if let Some(index) = had {
            clients.used(place, self.set, index, self.now);
            if self.admits(index) {
                return Some(Chosen { index, displaced: false });
            }
        }
        let chosen = self.by_hash(place.key())?;
        if had.is_none() {
            clients.used(place, self.set, chosen.index, self.now);
        }
        Some(Chosen { displaced: had.is_some() || chosen.displaced, ..chosen })
    }
}

/// One turn of smooth weighted round robin among `candidates`.
fn turn(ahead: &mut [i64], weights: &[u32], candidates: impl Iterator<Item = usize>) -> Option<usize> {
    let mut total = 0;
    let mut furthest: Option<usize> = None;
    for index in candidates {
        let weight = i64::from(weights[index]);
        ahead[index] += weight;
        total += weight;
        if furthest.is_none_or(|furthest| ahead[index] > ahead[furthest]) {
            furthest = Some(index);
        }
    }
    let chosen = furthest?;
    ahead[chosen] -= total;
    Some(chosen)
}

/// Two different numbers below `end`, by lot; twice the same where there is only one.
fn two_below(end: usize, draw: &mut impl Draw) -> Option<[usize; 2]> {
    match end {
        0 => None,
        1 => Some([0, 0]),
        _ => {
            let a = draw.below(end as u64) as usize;
            let b = draw.below(end as u64 - 1) as usize;
            Some([a, if b < a { b } else { b + 1 }])
        }
    }
}

#[cfg(test)]
mod tests;
