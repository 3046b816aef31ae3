//! Coarse timers: a deadline is a number in a cell, and one sweep a second finds those that have passed.
//!
//! A request sets several deadlines and nearly never meets one. To register each with the runtime's timer wheel would
//! cost more than parsing the head, so a connection has one [`Timer`]: arming it is a store, and the worker's sweep
//! wakes the connection when the time has come. A coarse deadline never passes early and passes at most a second late.
//! Where a policy asks for a short time, the sweep hurries for as long as such a deadline is pending.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// How often deadlines are looked at, and so how late a coarse one may pass.
const COARSE: Duration = Duration::from_secs(1);
/// How often while a deadline below [`SHORT`] is pending.
const FINE: Duration = Duration::from_millis(50);
/// Deadlines nearer than this are fine ones.
const SHORT: Duration = Duration::from_secs(5);

/// A worker's time, and the timers of its connections.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// Milliseconds from `started` to the last sweep.
    now: Cell<u64>,
    slots: RefCell<Vec<Rc<Slot>>>,
    /// Those of `slots` whose timers are gone. The next timers take them: streams come and go by the ten thousand
    /// between two sweeps.
    free: RefCell<Vec<Rc<Slot>>>,
    /// Those of `slots` that are looked at by every fine sweep.
    short: RefCell<Vec<Rc<Slot>>>,
    /// Ends the sweep's pause when the first short deadline is set.
    hurry: Notify,
}

/// The timer of a connection: armed with at most one deadline at a time.
#[derive(Debug)]
pub(crate) struct Timer {
    clock: Rc<Clock>,
    slot: Rc<Slot>,
}

/// A moment on a worker's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Deadline(u64);

/// How far a connection waits for nothing but a request, so that a drain may end it: the less, the later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Idleness {
    #[default]
    Busy,
    /// It waits for its first request, which may be on the way.
    Fresh,
    /// It waits for another request.
    Idle,
}

#[derive(Debug)]
struct Slot {
    deadline: Cell<Deadline>,
    /// Whether the slot is in the clock's list of short ones.
    is_short: Cell<bool>,
    idleness: Cell<Idleness>,
    waker: RefCell<Option<Waker>>,
}

/// Waits for `work`, but not longer than until the timer fires, which has to [wake](Timer::wake_this_task) this task.
pub(crate) async fn until_fired<F: Future>(timer: &Timer, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if timer.has_fired() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

// === impl Clock ===

impl Clock {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            started: Instant::now(),
            now: Cell::new(0),
            slots: RefCell::default(),
            free: RefCell::default(),
            short: RefCell::default(),
            hurry: Notify::new(),
        })
    }

    /// A timer for a new connection or stream.
    pub(crate) fn timer(self: &Rc<Self>) -> Timer {
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let slot = Rc::new(Slot::new());
            self.slots.borrow_mut().push(Rc::clone(&slot));
            slot
        });
        Timer { clock: Rc::clone(self), slot }
    }

    /// The moment `after` from now.
    pub(crate) fn deadline(&self, after: Duration) -> Deadline {
        let after_millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        if after < SHORT {
            Deadline(self.measured().saturating_add(after_millis))
        } else {
            // The last sweep may be nearly a period ago; without the period added, the deadline could pass early.
            let period = COARSE.as_millis() as u64;
            let last_sweep = self.now.get() - self.now.get() % period;
            Deadline(last_sweep.saturating_add(after_millis).saturating_add(period))
        }
    }

    /// Whether `deadline` has passed, as of the last sweep.
    pub(crate) fn has_passed(&self, deadline: Deadline) -> bool {
        deadline.0 <= self.now.get()
    }

    /// Sweeps for as long as the worker lives, and calls `every_second` at each coarse sweep.
    pub(crate) async fn run(&self, mut every_second: impl FnMut()) {
        let mut next_coarse = Instant::now() + COARSE;
        loop {
            let next =
                if self.short.borrow().is_empty() { next_coarse } else { next_coarse.min(Instant::now() + FINE) };
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.hurry.notified() => continue,
            }
            self.now.set(self.measured());
            self.short.borrow_mut().retain(|slot| {
                slot.wake_if_passed(self.now.get());
                let stays = Rc::strong_count(slot) > 1 && slot.is_near(self.now.get());
                slot.is_short.set(stays);
                stays
            });
            if Instant::now() >= next_coarse {
                next_coarse += COARSE;
                self.free.borrow_mut().clear();
                self.slots.borrow_mut().retain(|slot| {
                    slot.wake_if_passed(self.now.get());
                    Rc::strong_count(slot) > 1
                });
                every_second();
            }
        }
    }

    /// Ends the wait of all connections that are idle to this degree: their timers fire at once.
    pub(crate) fn fire_all(&self, least: Idleness) {
        for slot in self.slots.borrow().iter().filter(|slot| slot.idleness.get() >= least) {
            slot.fire();
        }
    }

    fn measured(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Timer ===

impl Timer {
    pub(crate) fn clock(&self) -> &Rc<Clock> {
        &self.clock
    }

    /// Has the task that awaits this woken when the deadline passes. It is the same for the timer's life.
    pub(crate) async fn wake_this_task(&self) {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        *self.slot.waker.borrow_mut() = Some(waker);
    }

    /// Arms the timer with the moment `after` from now.
    pub(crate) fn set(&self, after: Duration) {
        self.arm(self.clock.deadline(after));
    }

    /// Arms the timer, instead of what it was armed with.
    pub(crate) fn arm(&self, deadline: Deadline) {
        self.slot.deadline.set(deadline);
        if deadline != Deadline::NEVER && !self.slot.is_short.get() && self.slot.is_near(self.clock.now.get()) {
            self.slot.is_short.set(true);
            let mut short = self.clock.short.borrow_mut();
            if short.is_empty() {
                self.clock.hurry.notify_one();
            }
            short.push(Rc::clone(&self.slot));
        }
    }

    /// Whether the deadline that the timer is armed with has passed.
    pub(crate) fn has_fired(&self) -> bool {
        self.slot.deadline.get() == Deadline::PASSED
    }

    /// Says whether the connection waits for nothing but a request.
    pub(crate) fn set_idleness(&self, idleness: Idleness) {
        self.slot.idleness.set(idleness);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // A waker keeps the memory of its task.
        self.slot.waker.take();
        self.slot.deadline.set(Deadline::NEVER);
        self.slot.idleness.set(Idleness::default());
        self.clock.free.borrow_mut().push(Rc::clone(&self.slot));
    }
}

// === impl Deadline ===

impl Deadline {
    /// A deadline that never passes.
    pub(crate) const NEVER: Self = Self(u64::MAX);
    const PASSED: Self = Self(0);

    /// The moment `by` later.
    pub(crate) fn later(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

// === impl Slot ===

impl Slot {
    fn new() -> Self {
        Self {
            deadline: Cell::new(Deadline::NEVER),
            is_short: Cell::new(false),
            idleness: Cell::default(),
            waker: RefCell::new(None),
        }
    }

    fn wake_if_passed(&self, now: u64) {
        let deadline = self.deadline.get();
        if deadline != Deadline::PASSED && deadline.0 <= now {
            self.fire();
        }
    }

    fn fire(&self) {
        self.deadline.set(Deadline::PASSED);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Whether the deadline comes too soon to wait for a coarse sweep. The last coarse sweep may be a period ago.
    fn is_near(&self, now: u64) -> bool {
        let deadline = self.deadline.get();
        deadline != Deadline::PASSED && deadline.0 < now.saturating_add(SHORT.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc, task::Wake};

    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    /// Runs a clock and gives the time that a timer of `after`, set `offset` after the start, takes to fire.
    fn fires_after(offset: Duration, after: Duration) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let clock = Clock::new();
            let sweeping = Rc::clone(&clock);
            tokio::task::spawn_local(async move { sweeping.run(|| {}).await });
            tokio::time::sleep(offset).await;
            let timer = clock.timer();
            let set_at = Instant::now();
            timer.set(after);
            timer.wake_this_task().await;
            until_fired(&timer, pending::<()>()).await;
            set_at.elapsed()
        })
    }

    #[test]
    fn a_coarse_deadline_is_never_early_and_at_most_a_second_late() {
        for offset in [0, 1, 500, 999, 1000, 12_345] {
            let waited = fires_after(Duration::from_millis(offset), Duration::from_secs(60));
            assert!(waited >= Duration::from_secs(60), "{offset}: {waited:?}");
            assert!(waited <= Duration::from_millis(61_010), "{offset}: {waited:?}");
        }
    }

    #[test]
    fn a_short_deadline_is_met_within_a_tenth_of_a_second() {
        for offset in [0, 1, 500, 999, 12_345] {
            for after in [100, 1000, 4000] {
                let after = Duration::from_millis(after);
                let waited = fires_after(Duration::from_millis(offset), after);
                assert!(waited >= after, "{offset} {after:?}: {waited:?}");
                assert!(waited <= after + Duration::from_millis(110), "{offset} {after:?}: {waited:?}");
            }
        }
    }

    #[test]
    fn a_timer_that_was_armed_anew_fires_by_the_new_deadline() {
        let clock = Clock::new();
        let timer = clock.timer();
        timer.set(Duration::from_secs(60));
        timer.arm(Deadline::NEVER);
        clock.slots.borrow()[0].wake_if_passed(u64::MAX - 1);
        assert!(!timer.has_fired());
    }

    #[test]
    fn timers_that_come_and_go_leave_nothing_behind() {
        let clock = Clock::new();
        let task = Arc::new(Task);
        for _ in 0..10_000 {
            let timer = clock.timer();
            assert!(!timer.has_fired());
            timer.set(Duration::from_secs(1));
            *timer.slot.waker.borrow_mut() = Some(Waker::from(Arc::clone(&task)));
            clock.fire_all(Idleness::Busy);
            assert!(timer.has_fired());
        }
        assert_eq!(Arc::strong_count(&task), 1, "no task is kept");
        assert_eq!((clock.slots.borrow().len(), clock.short.borrow().len()), (1, 1));
    }

    #[test]
    fn draining_fires_the_timers_of_idle_connections_only() {
        let clock = Clock::new();
        let (idle, busy) = (clock.timer(), clock.timer());
        idle.set_idleness(Idleness::Idle);
        clock.fire_all(Idleness::Idle);
        assert!(idle.has_fired());
        assert!(!busy.has_fired());
    }
}
