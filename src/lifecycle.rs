//! Coming up and going down: when the process is ready, and how it ends without losing a request.
//!
//! [`Readiness`] collects what still has to happen before traffic may come. [`Drain`] is a token that everything which
//! must end watches; [`Drainer`] moves it on through its phases, and knows when nothing is left:
//!
//! ```text
//! Running ── first signal ──> Leaving ── delay over ──> Closing ── deadline, or second signal ──> Ended
//! ```
//!
//! Signals themselves are caught elsewhere. Nothing here is a lock that a request could wait for.

mod drain;
mod readiness;

pub use self::{
    drain::{Alive, Drain, Drainer, Group, Outcome, Phase, drain},
    readiness::{Guard, Readiness},
};
