//! Draining: what ends watches a token; what is alive is counted.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::Readiness;

/// How far the end of the process has come. Phases never go back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Phase {
    /// Serving.
    Running,
    /// Unready, so that load balancers look elsewhere, but serving and accepting as before.
    Leaving,
    /// Accepting until the queue is empty, then no more; idle connections are closed, requests in flight finish.
    Closing,
    /// Whatever is left is closed at once.
    Ended,
}

/// The token that everything watches which must end. Clones watch the same end.
#[derive(Clone)]
pub struct Drain(Arc<State>);

/// Moves the phases on, and waits for what is alive.
#[derive(Clone, Debug)]
pub struct Drainer(Drain);

/// Counts one kind of things that must end before the process may: "connections".
///
/// Take one per worker and kind, so that workers do not share a counter.
#[derive(Clone)]
pub struct Group(Arc<GroupState>);

/// Something that must end before the process may, until it is dropped.
#[must_use = "it is counted only as long as it is held"]
pub struct Alive(Group);

/// How a drain ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing was left.
    Clean,
    /// This was left, and was cut off: kinds and how many of each.
    Cut(Vec<(&'static str, usize)>),
}

struct State {
    /// The phase, for those who ask once per request.
    phase: AtomicU8,
    /// The phase, for those who wait.
    watched: watch::Sender<Phase>,
    groups: Mutex<Vec<Arc<GroupState>>>,
    /// Told when a group becomes empty.
    emptied: Arc<Notify>,
}

/// On a cache line of its own, as each worker writes its own.
#[repr(align(64))]
struct GroupState {
    count: AtomicUsize,
    name: &'static str,
    emptied: Arc<Notify>,
}

/// How long what is left may take to notice that it is cut off.
const CUT_OFF: Duration = Duration::from_millis(500);

/// Begins in [`Phase::Running`].
#[must_use]
pub fn drain() -> (Drainer, Drain) {
    let drain = Drain(Arc::new(State {
        phase: AtomicU8::new(Phase::Running as u8),
        watched: watch::Sender::new(Phase::Running),
        groups: Mutex::default(),
        emptied: Arc::default(),
    }));
    (Drainer(drain.clone()), drain)
}

// === impl Drain ===

impl Drain {
    /// The phase of now. Costs a relaxed load: fit for every request.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Relaxed) {
            0 => Phase::Running,
            1 => Phase::Leaving,
            2 => Phase::Closing,
            _ => Phase::Ended,
        }
    }

    /// Whether connections are to be closed once they are idle. Costs a relaxed load: fit for every request.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase() >= Phase::Closing
    }

    /// Whether whatever is left must stop.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.phase() == Phase::Ended
    }

    /// Waits until nothing new may begin ([`Phase::Closing`]).
    ///
    /// For accept loops and long tasks. It registers with a shared list, so per request ask [`Drain::is_draining`].
    pub async fn started(&self) {
        self.reached(Phase::Closing).await;
    }

    /// Waits until whatever is left must stop ([`Phase::Ended`]).
    pub async fn ended(&self) {
        self.reached(Phase::Ended).await;
    }

    /// Waits until `phase` or a later one.
    pub async fn reached(&self, phase: Phase) {
        // The sender is in `self`, so the wait can end in no other way.
        let _ = self.0.watched.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Counts a kind of things that must end before the process may.
    #[must_use]
    pub fn group(&self, name: &'static str) -> Group {
        let group = Arc::new(GroupState { count: AtomicUsize::new(0), name, emptied: self.0.emptied.clone() });
        let mut groups = self.0.groups.lock().unwrap_or_else(PoisonError::into_inner);
        // Forget the groups that nobody can enter any more.
        groups.retain(|group| Arc::strong_count(group) > 1);
        groups.push(group.clone());
        Group(group)
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.phase()).finish()
    }
}

// === impl Drainer ===

impl Drainer {
    /// Moves on to `phase`; does nothing where that or a later one is reached already.
    pub fn advance(&self, phase: Phase) {
        let State { phase: atomic, watched, .. } = &*self.0.0;
        watched.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
                atomic.store(phase as u8, Ordering::Relaxed);
            }
            later
        });
    }

    /// Cuts off whatever is left: what a second signal asks for.
    pub fn end_now(&self) {
        self.advance(Phase::Ended);
    }

    /// What is alive: kinds and how many of each, none of them zero, sorted.
    #[must_use]
    pub fn alive(&self) -> Vec<(&'static str, usize)> {
        let groups = self.0.0.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alive = std::collections::BTreeMap::new();
        for group in groups.iter() {
            *alive.entry(group.name).or_default() += group.count.load(Ordering::SeqCst);
        }
        alive.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Waits until nothing is alive.
    pub async fn empty(&self) {
        loop {
            // Registered before looking, so that a group that becomes empty in between is not missed.
            let emptied = self.0.0.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.alive().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Ends the process's work: unready at once, closing after `delay`, cut off `deadline` after that.
    ///
    /// Returns as soon as nothing is alive once it is closing. [`Drainer::end_now`] on a clone cuts every wait short.
    pub async fn run(&self, readiness: &Readiness, delay: Duration, deadline: Duration) -> Outcome {
        let _unready = readiness.block("draining");
        self.advance(Phase::Leaving);
        tokio::select! {
            () = sleep(delay) => {}
            () = self.0.ended() => {}
        }

        self.advance(Phase::Closing);
        tokio::select! {
            () = self.empty() => return Outcome::Clean,
            () = sleep(deadline) => {}
            () = self.0.ended() => {}
        }

        let left = self.alive();
        self.advance(Phase::Ended);
        let _ = timeout(CUT_OFF, self.empty()).await;
        if left.is_empty() { Outcome::Clean } else { Outcome::Cut(left) }
    }
}

// === impl Group ===

impl Group {
    /// Counts one more, until the guard is dropped.
    pub fn enter(&self) -> Alive {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        Alive(self.clone())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.0.name).field(&self.count()).finish()
    }
}

// === impl Alive ===

impl Drop for Alive {
    fn drop(&mut self) {
        // Sequentially consistent, as is the look at the count in `empty`: one of the two sees the other.
        if self.0.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.emptied.notify_waiters();
        }
    }
}

impl fmt::Debug for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alive").field(&self.0.0.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const DELAY: Duration = Duration::from_secs(5);
    const DEADLINE: Duration = Duration::from_secs(30);

    #[test]
    fn phases_never_go_back() {
        let (drainer, drain) = drain();
        assert!(!drain.is_draining());
        drainer.advance(Phase::Closing);
        drainer.advance(Phase::Leaving);
        assert_eq!(drain.phase(), Phase::Closing);
        assert!(drain.is_draining());
    }

    #[test]
    fn leaving_still_serves() {
        let (drainer, drain) = drain();
        drainer.advance(Phase::Leaving);
        assert!(!drain.is_draining());
    }

    #[test]
    fn groups_of_one_kind_are_summed() {
        let (drainer, drain) = drain();
        let (a, b, tunnels) = (drain.group("connections"), drain.group("connections"), drain.group("tunnels"));
        let held = (a.enter(), b.enter(), b.enter());
        let tunnel = tunnels.enter();
        assert_eq!(drainer.alive(), [("connections", 3), ("tunnels", 1)]);
        drop(tunnel);
        assert_eq!(drainer.alive(), [("connections", 3)]);
        drop(held);
        assert_eq!(drainer.alive(), []);
    }

    #[test]
    fn a_guard_counts_after_its_group_is_dropped() {
        let (drainer, drain) = drain();
        let alive = drain.group("connections").enter();
        let _other = drain.group("tunnels");
        assert_eq!(drainer.alive(), [("connections", 1)]);
        drop(alive);
        assert_eq!(drainer.alive(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_delay_then_ends_as_soon_as_nothing_is_left() {
        let (drainer, drain) = drain();
        let readiness = Readiness::new();
        let begin = Instant::now();

        let alive = drain.group("connections").enter();
        let connection = tokio::spawn({
            let drain = drain.clone();
            async move {
                drain.started().await;
                let closing = begin.elapsed();
                sleep(Duration::from_secs(2)).await;
                drop(alive);
                closing
            }
        });
        let unready = tokio::spawn({
            let (drain, readiness) = (drain.clone(), readiness.clone());
            async move {
                drain.reached(Phase::Leaving).await;
                (begin.elapsed(), readiness.blocked_by())
            }
        });

        assert_eq!(drainer.run(&readiness, DELAY, DEADLINE).await, Outcome::Clean);
        assert_eq!(begin.elapsed().as_secs(), 7);
        assert_eq!(connection.await.unwrap().as_secs(), 5);
        let (at, blocked_by) = unready.await.unwrap();
        assert_eq!((at.as_secs(), blocked_by), (0, vec!["draining".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_alive_ends_right_after_the_delay() {
        let (drainer, _drain) = drain();
        let begin = Instant::now();
        assert_eq!(drainer.run(&Readiness::new(), DELAY, DEADLINE).await, Outcome::Clean);
        assert_eq!(begin.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_at_the_deadline_is_cut_off_and_named() {
        let (drainer, drain) = drain();
        let alive = drain.group("tunnels").enter();
        let tunnel = tokio::spawn(async move {
            drain.ended().await;
            drop(alive);
        });
        let begin = Instant::now();
        let outcome = drainer.run(&Readiness::new(), DELAY, DEADLINE).await;
        assert_eq!(outcome, Outcome::Cut(vec![("tunnels", 1)]));
        assert_eq!(begin.elapsed().as_secs(), 35);
        tunnel.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_at_once_even_during_the_delay() {
        let (drainer, drain) = drain();
        let _alive = drain.group("connections").enter();
        let begin = Instant::now();
        tokio::spawn({
            let drainer = drainer.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                drainer.end_now();
            }
        });
        let outcome = drainer.run(&Readiness::new(), DELAY, DEADLINE).await;
        assert_eq!(outcome, Outcome::Cut(vec![("connections", 1)]));
        assert_eq!(begin.elapsed(), Duration::from_millis(1500));
    }
}
