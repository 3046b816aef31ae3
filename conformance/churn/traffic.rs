//! Load that knows what must come back, and counts what does not.

use super::{calls::keep_calls, door::Door, streams::ask_on_streams};
use crate::{
    client::{Answer, Client, PATIENCE, Request, patient},
    grpc::Caller,
    wire::Wire,
};
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};

/// Endpoints come back only after as many generations, so that one which answers tells its generation.
pub(super) const ENDPOINTS: usize = 16;

/// Of so many requests, one has a body.
const ONE_IN_HAS_A_BODY: usize = 5;

/// A gateway closes a connection politely after so many requests, as ingress-nginx does; before, it must not.
pub(super) const KEEP_ALIVE_REQUESTS: usize = 1000;

/// How much is asked at once.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) connections: usize,
    /// Connections over HTTP/2, and how many streams each has at once.
    pub(super) shared: usize,
    pub(super) streams: usize,
    /// Requests a second, over all connections and streams.
    pub(super) rate: usize,
    pub(super) sockets: usize,
    /// Clients that make a connection for each request.
    pub(super) fresh: usize,
    /// Calls of gRPC at once: one half of them lasts from the first change to the last.
    pub(super) calls: usize,
    pub(super) idle: usize,
}

/// Running load.
pub(super) struct Traffic {
    pub(super) state: Arc<State>,
    clients: JoinSet<()>,
    idle: Vec<Client>,
}

/// What the load has shown, and lost.
#[derive(Default)]
pub(super) struct State {
    /// The newest version of the route that an answer came through.
    pub(super) version: Newest,
    /// The newest generation of endpoints that an answer came from.
    pub(super) generation: Newest,
    /// The newest generation of endpoints that was written.
    pub(super) made: Newest,
    stopped: AtomicBool,
    tally: Mutex<Tally>,
}

#[derive(Default, Debug)]
pub(super) struct Tally {
    pub(super) answered: usize,
    pub(super) with_body: usize,
    /// How many of those that were answered were on streams.
    pub(super) on_streams: usize,
    /// And how many on connections of their own.
    pub(super) afresh: usize,
    pub(super) frames: usize,
    /// Calls that have ended, and the notes that they had.
    pub(super) calls: usize,
    pub(super) notes: usize,
    /// What was lost, or was answered wrongly: `request`, `stream`, `socket`, `call` or `idle` first.
    pub(super) lost: Vec<String>,
}

/// A number that only grows.
#[derive(Default)]
pub(super) struct Newest(AtomicUsize);

// === impl Traffic ===

impl Traffic {
    /// Starts load that comes in by these doors, to each as much.
    pub(super) async fn start(doors: &[Door], load: Load) -> Self {
        let state = Arc::new(State::default());
        let door = |number: usize| doors[number % doors.len()].clone();
        let mut idle = Vec::new();
        for number in 0..load.idle {
            let mut client = door(number).client("load.test").await.expect("the gateway accepts connections");
            client.exchange(&Request::get("load.test", "/idle")).await.expect("the gateway answers");
            idle.push(client);
        }
        let mut clients = JoinSet::new();
        let asking = load.connections + load.shared * load.streams;
        let every = Duration::from_secs_f64(asking as f64 / load.rate as f64);
        for number in 0..load.connections {
            clients.spawn(ask(Arc::clone(&state), door(number), number, every));
        }
        for number in 0..load.shared {
            // Numbers of their own, so that no request looks like another.
            let asking =
                ask_on_streams(Arc::clone(&state), door(number), load.connections + number, load.streams, every);
            clients.spawn(asking);
        }
        for number in 0..load.sockets {
            let wire = upgrade(&door(number)).await.expect("the gateway passes on an upgrade");
            clients.spawn(keep_socket(Arc::clone(&state), wire, number));
        }
        let mut callers = Vec::new();
        for door in doors {
            callers.push(door.caller("calls.test").await);
        }
        for number in 0..load.fresh {
            clients.spawn(ask_afresh(Arc::clone(&state), door(number), load.connections + load.shared + number));
        }
        for number in 0..load.calls {
            let caller: Caller = callers[number % callers.len()].clone();
            clients.spawn(keep_calls(Arc::clone(&state), caller, number, number < load.calls / 2));
        }
        Self { state, clients, idle }
    }

    /// Waits until something is lost.
    pub(super) async fn wait_for_loss(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.state.tally.lock().expect("no holder panics").lost.is_empty() {
            assert!(Instant::now() < deadline, "what was broken on purpose is seen");
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends the load, asks once more on each idle connection, and tells what there was.
    pub(super) async fn stop(mut self) -> Tally {
        self.state.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            if let Err(error) = ended {
                self.state.lose(format!("request: a client ended: {error}"));
            }
        }
        for client in &mut self.idle {
            if let Err(error) = client.exchange(&Request::get("load.test", "/idle")).await {
                self.state.lose(format!("idle connection: {error}"));
            }
        }
        std::mem::take(&mut self.state.tally.lock().expect("no holder panics"))
    }
}

/// Asks again and again on one connection, at a steady rate.
async fn ask(state: Arc<State>, door: Door, number: usize, every: Duration) {
    let mut ticks = time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut client = None;
    let mut asked = 0;
    for request in 0.. {
        ticks.tick().await;
        if state.is_stopped() {
            return;
        }
        let connection = match &mut client {
            Some(connection) => connection,
            None => match door.client("load.test").await {
                Ok(connection) => {
                    asked = 0;
                    client.insert(connection)
                }
                Err(error) => {
                    state.lose(format!("request: no connection: {error}"));
                    continue;
                }
            },
        };
        asked += 1;
        match Asked::new(&state, number, request).answered(&state, connection).await {
            Ok(closing) if closing && asked < KEEP_ALIVE_REQUESTS => {
                state.lose(format!("request: the connection was closed after {asked}"));
                client = None;
            }
            Ok(closing) if closing => client = None,
            Ok(_) => {}
            Err(loss) => {
                state.lose(format!("request: {loss}"));
                client = None;
            }
        }
    }
}

/// Asks again and again, each time on a connection of its own.
async fn ask_afresh(state: Arc<State>, door: Door, number: usize) {
    for request in 0.. {
        time::sleep(Duration::from_millis(20)).await;
        if state.is_stopped() {
            return;
        }
        let asked = Asked::new(&state, number, request);
        let lost = match door.client("load.test").await {
            Ok(mut client) => asked.answered(&state, &mut client).await.err(),
            Err(error) => Some(format!("no connection: {error}")),
        };
        match lost {
            None => state.count(|tally| tally.afresh += 1),
            Some(lost) => state.lose(format!("request: {lost}")),
        }
    }
}

/// A request, and what traffic had shown when it was sent.
pub(super) struct Asked {
    pub(super) request: Request,
    version: usize,
    generation: usize,
}

// === impl Asked ===

impl Asked {
    pub(super) fn new(state: &State, connection: usize, number: usize) -> Self {
        let mut request = Request::get("load.test", &format!("/{connection}/{number}"));
        if number % ONE_IN_HAS_A_BODY == connection % ONE_IN_HAS_A_BODY {
            request.method = "POST".into();
            request.body = Some(noise(connection, number));
            request = request.with("X-Want-Echo", "body");
        }
        Self { request, version: state.version.get(), generation: state.generation.get() }
    }

    /// Sends the request and checks its answer; `true` where the gateway closes the connection after it.
    async fn answered(self, state: &State, client: &mut Client) -> Result<bool, String> {
        let path = &self.request.path;
        let answer = client.exchange(&self.request).await.map_err(|error| format!("{path}: {error}"))?;
        self.judge(state, &answer)?;
        Ok(answer.closes())
    }

    /// Checks an answer.
    pub(super) fn judge(&self, state: &State, answer: &Answer) -> Result<(), String> {
        let path = &self.request.path;
        if answer.status != 200 {
            return Err(format!("{path}: status {}", answer.status));
        }
        let endpoint = answer.backend().and_then(|name| name.strip_prefix('e')?.parse().ok());
        let endpoint: usize = endpoint.ok_or_else(|| format!("{path}: no endpoint answered"))?;
        self.check_endpoint(state, endpoint)?;

        match &self.request.body {
            Some(body) if *body != answer.body => return Err(format!("{path}: another body came back")),
            Some(_) => {}
            None => {
                let seen = answer.seen().ok_or_else(|| format!("{path}: an empty answer"))?;
                if seen.uri != *path {
                    return Err(format!("{path}: the answer to {} came back", seen.uri));
                }
                let host = seen.headers.get("host").and_then(|values| values.first());
                self.check_version(state, host.ok_or_else(|| format!("{path}: the endpoint saw no host"))?)?;
            }
        }
        state.count(|tally| {
            tally.answered += 1;
            tally.with_body += usize::from(self.request.body.is_some());
        });
        Ok(())
    }

    fn check_version(&self, state: &State, host: &str) -> Result<(), String> {
        let version = host.strip_prefix('v').and_then(|host| host.strip_suffix(".test")?.parse().ok());
        let version: usize = version.ok_or_else(|| format!("{}: the endpoint saw {host}", self.request.path))?;
        if version < self.version {
            return Err(format!("{}: version {version} after {}", self.request.path, self.version));
        }
        state.version.raise_to(version);
        Ok(())
    }

    /// An endpoint may answer if it is up in a generation that had been seen when the request was sent, or in a later one.
    fn check_endpoint(&self, state: &State, endpoint: usize) -> Result<(), String> {
        let mut generations = self.generation..=state.made.get();
        match generations.find(|&generation| endpoints_of(generation).contains(&endpoint)) {
            Some(generation) => {
                state.generation.raise_to(generation);
                Ok(())
            }
            None => Err(format!("{}: e{endpoint} answered after generation {}", self.request.path, self.generation)),
        }
    }
}

/// Sends frames through an upgraded connection, and expects each back.
async fn keep_socket(state: Arc<State>, mut wire: Wire, number: usize) {
    for frame in 0.. {
        time::sleep(Duration::from_millis(10)).await;
        if state.is_stopped() {
            return;
        }
        let sent = &noise(number, frame)[..64];
        match patient(send_and_receive(&mut wire, sent)).await {
            Ok(received) if received == sent => state.count(|tally| tally.frames += 1),
            Ok(_) => return state.lose(format!("socket {number}: another frame came back")),
            Err(error) => return state.lose(format!("socket {number}: {error}")),
        }
    }
}

async fn upgrade(door: &Door) -> io::Result<Wire> {
    let mut client = door.client("load.test").await?;
    let request = Request::get("load.test", "/socket").with("Connection", "Upgrade").with("Upgrade", "websocket");
    match client.exchange(&request).await?.status {
        101 => Ok(client.into_wire()),
        status => Err(io::Error::other(format!("answered with {status}"))),
    }
}

async fn send_and_receive(wire: &mut Wire, bytes: &[u8]) -> io::Result<Vec<u8>> {
    wire.write(bytes).await?;
    wire.read_exact(bytes.len()).await
}

/// Bytes that differ from request to request: 64 to 8,255 of them.
fn noise(connection: usize, number: usize) -> Vec<u8> {
    let mut state = (connection as u64) << 32 | number as u64 | 1 << 63;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = 64 + (next() % 8192) as usize;
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

// === impl State ===

impl State {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally.lock().expect("no holder panics"));
    }

    pub(super) fn lose(&self, what: String) {
        self.count(|tally| tally.lost.push(what));
    }
}

// === impl Newest ===

impl Newest {
    fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn raise_to(&self, number: usize) {
        self.0.fetch_max(number, Ordering::AcqRel);
    }

    pub(super) async fn wait_for(&self, number: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.get() < number {
            assert!(Instant::now() < deadline, "change {number} is seen on traffic");
            time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The two endpoints that are up in a generation: one that the last had too, and one that it had not.
pub(super) fn endpoints_of(generation: usize) -> [usize; 2] {
    [generation % ENDPOINTS, (generation + 1) % ENDPOINTS]
}

#[tokio::test]
async fn a_client_that_panics_is_a_loss() {
    let mut clients = JoinSet::new();
    clients.spawn(async { panic!("a defect, as the test wants it") });
    let traffic = Traffic { state: Arc::default(), clients, idle: Vec::new() };
    let lost = traffic.stop().await.lost;
    assert_eq!(lost.len(), 1, "{lost:?}");
}

#[test]
fn an_answer_through_an_older_version_is_a_loss() {
    let state = State::default();
    state.version.raise_to(2);
    let asked = Asked::new(&state, 1, 2);
    assert!(asked.check_version(&state, "v1.test").is_err());
    assert!(asked.check_version(&state, "load.test").is_err());
    assert_eq!(asked.check_version(&state, "v2.test"), Ok(()));
    assert_eq!(asked.check_version(&state, "v3.test"), Ok(()));
    assert_eq!(state.version.get(), 3);
}

#[test]
fn an_answer_from_an_endpoint_that_was_taken_away_is_a_loss() {
    let state = State::default();
    state.made.raise_to(2);
    state.generation.raise_to(1);
    let asked = Asked::new(&state, 1, 2);
    assert!(asked.check_endpoint(&state, 0).is_err(), "it was up in generation 0 only");
    assert_eq!(asked.check_endpoint(&state, 1), Ok(()));
    assert_eq!(asked.check_endpoint(&state, 3), Ok(()), "it is up in the generation that is under way");
    assert_eq!(state.generation.get(), 2);
    assert!(asked.check_endpoint(&state, 4).is_err(), "it is up in none that was made");
}
