//! What the lack of endpoints means for those who want them.

use crate::{
    key::{ClusterKey, ObjectKey},
    problem::{Level, Problem, Reason},
};

use super::ClusterOutput;

/// A part of an Ingress that wants a cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Use {
    pub ingress: ObjectKey,
    /// Where in the Ingress.
    pub field: String,
    pub cluster: ClusterKey,
    pub role: Role,
}

/// What a cluster is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// It serves a path.
    Stable,
    /// It serves part of the requests of a path.
    Canary,
    /// It serves what no path of the Ingress does (`spec.defaultBackend`).
    Default,
    /// It serves while the stable side has no endpoint (`default-backend`).
    Fallback,
}

/// The problems of Ingresses whose clusters have no endpoint, and of the Services of these; `output` is what became of a
/// cluster. Sorted, each once.
pub fn endpoint_problems<'c>(uses: &[Use], output: impl Fn(&ClusterKey) -> Option<&'c ClusterOutput>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for wish in uses {
        let output = output(&wish.cluster);
        if output.is_none_or(|output| output.endpoints.is_empty()) {
            problems.push(wish.problem());
            problems.extend(output.and_then(|output| output.lack.clone()));
        }
    }
    problems.sort_unstable();
    problems.dedup();
    problems
}

// === impl Use ===

impl Use {
    /// The problem of having no endpoint.
    fn problem(&self) -> Problem {
        let level = match self.role {
            Role::Stable | Role::Default => Level::Missing,
            Role::Canary | Role::Fallback => Level::Warning,
        };
        Problem {
            object: self.ingress.clone(),
            field: self.field.clone(),
            level,
            reason: Reason::NoEndpoints,
            fault: format!("{} has no endpoint that is ready", self.cluster),
            effect: self.role.effect_of_no_endpoints().to_owned(),
            mend: "See the Service: what it lacks is said there".to_owned(),
        }
    }
}

// === impl Role ===

impl Role {
    /// What follows where nothing can serve.
    pub(super) const fn effect_of_no_endpoints(self) -> &'static str {
        match self {
            Self::Stable | Self::Default => "Requests that no canary and no `default-backend` takes are answered 503",
            Self::Canary => "Its requests go to the stable side",
            Self::Fallback => "It cannot stand in for the stable side",
        }
    }
}
