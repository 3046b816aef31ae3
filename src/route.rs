//! Which backends serve a request, and under which policy.
//!
//! A [`Table`] is what translation makes of objects, and what the proxy asks for each request. It is immutable and
//! generic over how a backend is named (`B`) and over what a route carries at run time (`R`): translation makes a
//! printable `Table<ClusterKey, RouteId>`, and the pipeline maps it to live clusters and route states.
//!
//! [`decide()`] is the one decision for every protocol: a view of a request in, a [`Plan`] out. It is pure: chance, time
//! and the health of backends are arguments.

pub mod affinity;
mod backend;
mod canary;
mod choose;
mod decide;
mod fields;
mod host;
mod paths;
mod pattern;
mod policy;
mod redirect;
mod rewrite;
mod sticky;
mod table;
mod variables;

pub use self::{
    affinity::{Affinity, AffinityMode, AffinityPlan, CanaryBehavior, Held, SameSite},
    backend::{BackendProtocol, BackendTls, TlsVersions},
    canary::{Canary, CookieRule, FieldRule, Rule, Share, Sticky, ValueMatch},
    decide::{Answer, Forward, NoTrace, Plan, Request, Scheme, Step, Trace, Why, decide},
    host::{ClientCertificates, HostBuilder, HostTable, Route, RouteMatch, Side, Split},
    paths::{PathMatch, PathRule},
    pattern::{Captures, InvalidPattern, Pattern, PatternFlags},
    policy::{
        Algorithm, Balance, HashInput, HashKey, HashPart, InvalidHashKey, Policy, Redirect, Retry, RetryOn,
        SslRedirect, Timeouts,
    },
    rewrite::Rewrite,
    table::{Host, HostMatch, Table},
};

#[cfg(test)]
mod tests;
