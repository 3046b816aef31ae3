//! Turns: of all that waits to do long work on a worker, one piece is done between two looks at the sockets.
//!
//! A handshake's signature takes as long as serving some tens of requests. A runtime polls some sixty tasks before it
//! asks the kernel which sockets are ready; were they all handshakes, a request that has come meanwhile would wait for
//! sixty signatures. With turns it waits for one.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::yield_now,
};

/// A worker's turns.
#[derive(Debug)]
pub(crate) struct Turns {
    /// There is one turn; who has used it does not give it back: [`Turns::pass_on`] does.
    free: Semaphore,
    used: Notify,
}

/// A turn that was taken. Given up however the work ends.
struct Turn<'t>(&'t Turns);

// === impl Turns ===

impl Turns {
    pub(crate) fn new() -> Self {
        Self { free: Semaphore::new(1), used: Notify::new() }
    }

    /// Does work in turns: takes one for each time that the work goes on, in the order of asking.
    pub(crate) async fn take<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            if let Ok(permit) = self.free.acquire().await {
                permit.forget();
            }
            let mut turn = Some(Turn(self));
            let done = poll_fn(|cx| match turn.take() {
                Some(_turn) => work.as_mut().poll(cx).map(Some),
                // What the work waited for has come: it goes on in another turn.
                None => Poll::Ready(None),
            });
            if let Some(done) = done.await {
                return done;
            }
        }
    }

    /// Passes turns on for as long as the worker lives.
    pub(crate) async fn pass_on(&self) {
        loop {
            self.used.notified().await;
            // The runtime looks at the sockets before it goes on here, and serves what is ready.
            yield_now().await;
            self.free.add_permits(1);
        }
    }
}

// === impl Turn ===

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.used.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        net::UdpSocket,
        panic::{AssertUnwindSafe, catch_unwind},
        rc::Rc,
    };

    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    fn on_a_worker(test: impl Future<Output = ()>) {
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap().block_on(test);
    }

    /// Turns that are passed on.
    fn turns() -> Rc<Turns> {
        let turns = Rc::new(Turns::new());
        let passing = Rc::clone(&turns);
        tokio::task::spawn_local(async move { passing.pass_on().await });
        turns
    }

    #[test]
    fn a_socket_that_is_ready_waits_for_one_piece_of_work_at_most() {
        on_a_worker(async {
            let turns = turns();
            let order = Rc::new(RefCell::new(Vec::new()));
            let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            let address = socket.local_addr().unwrap();
            let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
            let heard = Rc::clone(&order);
            let request = tokio::task::spawn_local(async move {
                socket.recv(&mut [0; 1]).await.unwrap();
                heard.borrow_mut().push("request");
            });
            let flood: Vec<_> = (0..50)
                .map(|number| {
                    let (turns, order) = (Rc::clone(&turns), Rc::clone(&order));
                    tokio::task::spawn_local(async move {
                        let work = async {
                            if number == 10 {
                                UdpSocket::bind(("127.0.0.1", 0)).unwrap().send_to(b"x", address).unwrap();
                            }
                            order.borrow_mut().push("signature");
                        };
                        turns.take(work).await;
                    })
                })
                .collect();
            for task in flood {
                task.await.unwrap();
            }
            request.await.unwrap();
            let at = order.borrow().iter().position(|what| *what == "request").unwrap();
            // The request came while the eleventh signature was made.
            assert!((11..=12).contains(&at), "it waited for {} signatures", at - 11);
        });
    }

    #[test]
    fn work_that_waits_takes_no_turn() {
        on_a_worker(async {
            let turns = turns();
            let (told, telling) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
            let polls = Rc::new(Cell::new(0));
            let waiting = {
                let (turns, told, polls) = (Rc::clone(&turns), Rc::clone(&told), Rc::clone(&polls));
                let telling = Rc::clone(&telling);
                tokio::task::spawn_local(async move {
                    let mut waiting = pin!(told.notified());
                    let work = poll_fn(|cx| {
                        polls.set(polls.get() + 1);
                        telling.notify_one();
                        waiting.as_mut().poll(cx)
                    });
                    turns.take(work).await;
                })
            };
            telling.notified().await;
            for _ in 0..10 {
                turns.take(async {}).await;
            }
            assert_eq!(polls.get(), 1, "it is not asked while it has nothing to go on with");
            told.notify_one();
            waiting.await.unwrap();
            assert_eq!(polls.get(), 2);
        });
    }

    #[test]
    fn a_turn_outlives_neither_a_panic_nor_an_abandoned_work() {
        on_a_worker(async {
            let turns = turns();
            let mut panicking = Box::pin(turns.take(async { panic!("of the test") }));
            poll_fn(|cx| {
                assert!(catch_unwind(AssertUnwindSafe(|| panicking.as_mut().poll(cx).map(|()| ()))).is_err());
                Poll::Ready(())
            })
            .await;
            drop(panicking);
            let mut abandoned = Box::pin(turns.take(std::future::pending::<()>()));
            poll_fn(|cx| {
                let _ = abandoned.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
            drop(abandoned);
            turns.take(async {}).await;
        });
    }
}
