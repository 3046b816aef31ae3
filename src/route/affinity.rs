//! Session affinity by cookie: a client comes back to the endpoint, and to the side of the split, that served it.

use std::sync::Arc;

use serde::Serialize;

/// The affinity of a route (`affinity: cookie` and its annotations).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Affinity {
    pub mode: AffinityMode,
    pub cookie_name: Arc<str>,
    /// `Max-Age`, seconds; may be negative, which ends the cookie.
    pub max_age: Option<i64>,
    /// `Expires`, seconds from now.
    pub expires: Option<i64>,
    /// `Path`; where it is not set, the path of the route.
    pub path: Option<Arc<str>>,
    pub domain: Option<Arc<str>>,
    pub same_site: Option<SameSite>,
    /// Leaves `SameSite=None` out for clients that misunderstand it.
    pub conditional_same_site_none: bool,
    /// `Secure`; where it is not set, whether the request came by https.
    pub secure: Option<bool>,
    /// A new cookie when another endpoint had to serve.
    pub change_on_failure: bool,
    /// What canaries do with the sessions of the stable side.
    pub canary_behavior: CanaryBehavior,
}

/// Where a session belongs when endpoints come and go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum AffinityMode {
    /// Some sessions move, so that load stays even.
    #[default]
    Balanced,
    /// A session moves only when its endpoint is gone.
    Persistent,
}

/// `affinity-canary-behavior`, which stands on the canary's Ingress.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum CanaryBehavior {
    /// A session stays on the side that it began on.
    #[default]
    Sticky,
    /// The canary knows no sessions.
    Legacy,
}

/// The `SameSite` attribute of a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum SameSite {
    None,
    Lax,
    Strict,
}

/// What affinity asks of the choice of an endpoint for one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AffinityPlan<'t> {
    pub affinity: &'t Affinity,
    /// The key that the client's cookie holds for the chosen side; none is a new session.
    pub held: Option<u64>,
    /// The path of the route, for the cookie.
    pub path: &'t str,
}
