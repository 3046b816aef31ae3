//! What is wrong with an object, where, why, what follows, and how to mend it.
//!
//! Translation never fails: a mistake becomes a `Problem` on the object that holds it, and everything else goes on.
//! Events, `serin check`, `/debug/problems`, the admission webhook and a metric all show the same problems.

use std::fmt;

use serde::Serialize;

use crate::key::ObjectKey;

/// A mistake in an object.
///
/// The texts are plain sentences without a full stop: `effect` says what the gateway does instead, `mend` what to write.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Problem {
    pub object: ObjectKey,
    /// Where in the object: `metadata.annotations[nginx.ingress.kubernetes.io/canary-weight]`.
    pub field: String,
    pub level: Level,
    pub reason: Reason,
    /// What is wrong, with the value that is wrong.
    pub fault: String,
    /// What follows for traffic.
    pub effect: String,
    /// How to mend it.
    pub mend: String,
}

/// How much a problem matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A part of the object has no effect, or not the one that it asks for.
    Error,
    /// It works, but probably not as meant.
    Warning,
    /// It names an object that is not there; where only files are read, that object may be elsewhere.
    Missing,
}

/// The kind of a problem: a bounded set for Events, metric labels and documentation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum Reason {
    /// The manifest cannot be read.
    Unreadable,
    /// A value that cannot be what its field needs.
    InvalidValue,
    /// Not an annotation that is known; perhaps misspelt.
    UnknownAnnotation,
    /// Known, and not built yet.
    NotYet,
    /// Refused on purpose, for good.
    Refused,
    /// Honoured, with a difference to ingress-nginx, or to what the field says by itself.
    Differs,
    /// Another object has the same host and path and is older.
    Conflict,
    /// A Service, port, Secret or class that is not there.
    NotFound,
    /// An object that the gateway may not read.
    Forbidden,
    /// A Service without a usable endpoint.
    NoEndpoints,
    /// A canary that belongs to no route.
    CanaryWithoutStable,
    /// A canary that can never be chosen.
    CanaryShadowed,
    /// A canary without a rule or a weight.
    CanaryWithoutRule,
    /// Shares of the canaries of a route that exceed the whole.
    CanaryWeights,
    /// A certificate that cannot serve, or not for the name that it should.
    InvalidCertificate,
    /// A certificate that is not valid at this time, or only for a while yet.
    Expired,
    /// Of no use, or not usable for this purpose.
    Unsupported,
    /// Safe only under conditions that do not hold.
    Unsafe,
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}; {}. {}", self.object, self.field, self.fault, self.effect, self.mend)?;
        // What is to be pasted must end as it does.
        if self.mend.contains('\n') { Ok(()) } else { f.write_str(".") }
    }
}

// === impl Level ===

impl Level {
    /// The level as labels show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Missing => "not in these files",
        })
    }
}

// === impl Reason ===

impl Reason {
    /// The reason as Events and labels show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "Unreadable",
            Self::InvalidValue => "InvalidValue",
            Self::UnknownAnnotation => "UnknownAnnotation",
            Self::NotYet => "NotYet",
            Self::Refused => "Refused",
            Self::Differs => "Differs",
            Self::Conflict => "Conflict",
            Self::NotFound => "NotFound",
            Self::Forbidden => "Forbidden",
            Self::NoEndpoints => "NoEndpoints",
            Self::CanaryWithoutStable => "CanaryWithoutStable",
            Self::CanaryShadowed => "CanaryShadowed",
            Self::CanaryWithoutRule => "CanaryWithoutRule",
            Self::CanaryWeights => "CanaryWeights",
            Self::InvalidCertificate => "InvalidCertificate",
            Self::Expired => "Expired",
            Self::Unsupported => "Unsupported",
            Self::Unsafe => "Unsafe",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
