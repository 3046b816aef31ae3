//! The session of a request: which endpoint it is tied to, and the cookie that says so.

use std::net::IpAddr;

use super::{connect::Connect, worker::Worker};
use crate::{
    draw::Draw,
    route::{self, AffinityMode, AffinityPlan, Held, Scheme, affinity},
    upstream::{Algorithm, Cluster, EndpointId, Lease, Session, Wanted},
};

/// How many keys are drawn at most until one leads to an endpoint that can be had, as ingress-nginx does.
const DRAWS: usize = 20;

/// How the endpoints of a request are chosen.
#[derive(Debug)]
pub(crate) struct Selection<'t> {
    pub(crate) algorithm: route::Algorithm,
    pub(crate) hash: Option<u64>,
    pub(crate) client: IpAddr,
    pub(crate) affinity: Option<AffinityPlan<'t>>,
    /// The key of a balanced session that began, or began anew, with this request.
    new_key: Option<u64>,
}

// === impl Selection ===

impl<'t> Selection<'t> {
    pub(crate) fn new(
        algorithm: route::Algorithm,
        hash: Option<u64>,
        client: IpAddr,
        affinity: Option<AffinityPlan<'t>>,
    ) -> Self {
        Self { algorithm, hash, client, affinity, new_key: None }
    }

    /// Chooses an endpoint that was not tried. None where there is none.
    pub(crate) fn pick<C: Connect>(
        &mut self,
        worker: &Worker<C>,
        cluster: &Cluster,
        tried: &[EndpointId],
        now: u64,
    ) -> Option<Lease> {
        let mut positions = worker.positions.borrow_mut();
        let mut draw = worker.draw.borrow_mut();
        let mut draws = 0;
        loop {
            let session = match &self.affinity {
                Some(plan) if plan.affinity.mode == AffinityMode::Balanced => {
                    let held = self.new_key.or(plan.held.key());
                    Some(Session::Key(held.unwrap_or_else(|| *self.new_key.insert(draw.below(u64::MAX)))))
                }
                Some(plan) => plan.held.key().map(Session::Endpoint),
                None => None,
            };
            let algorithm = match self.algorithm {
                route::Algorithm::RoundRobin => Algorithm::RoundRobin,
                route::Algorithm::LeastConnections => Algorithm::LeastConnections,
                route::Algorithm::Ewma => Algorithm::Ewma,
                route::Algorithm::Hash => Algorithm::Hash,
                route::Algorithm::HashSubset(size) => Algorithm::HashSubset(size),
            };
            let wanted = Wanted { algorithm, hash: self.hash, session, client: Some(self.client), tried };
            let lease = cluster.pick(&wanted, &mut positions, &mut *draw, now)?;
            // A session that begins, or that may change, begins at an endpoint that its key leads to by itself.
            let may_change = matches!(session, Some(Session::Key(_)))
                && self.affinity.is_some_and(|plan| plan.held == Held::Nothing || plan.affinity.change_on_failure);
            draws += 1;
            if !(lease.is_displaced() && may_change && draws < DRAWS) {
                return Some(lease);
            }
            self.new_key = Some(draw.below(u64::MAX));
        }
    }

    /// The cookie that ties the client to the endpoint of `lease`, where it does not hold that already, and what it holds
    /// is not to stay.
    pub(crate) fn cookie(
        &self,
        lease: &Lease,
        cluster: &Cluster,
        now: u64,
        scheme: Scheme,
        user_agent: &[u8],
    ) -> Option<Vec<u8>> {
        let plan = self.affinity.as_ref()?;
        let key = match (plan.affinity.mode, plan.held) {
            (AffinityMode::Balanced, Held::Unnamed(held)) => self.new_key.unwrap_or(held),
            (AffinityMode::Balanced, _) => self.new_key?,
            (AffinityMode::Persistent, Held::Nothing) => lease.endpoint().tag(),
            (AffinityMode::Persistent, Held::Here(held)) => {
                let moves = plan.affinity.change_on_failure || !cluster.has(held);
                (lease.is_displaced() && moves).then(|| lease.endpoint().tag())?
            }
            (AffinityMode::Persistent, Held::Unnamed(held)) => held,
            // Its endpoint is another side's, and is not gone.
            (AffinityMode::Persistent, Held::Elsewhere(_)) => return None,
        };
        let mut cookie = Vec::new();
        let user_agent = (!user_agent.is_empty()).then_some(user_agent);
        affinity::set_cookie(plan, key, now, scheme, user_agent, &mut cookie);
        Some(cookie)
    }
}
