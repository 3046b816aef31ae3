//! Calls of gRPC that go on while all around them changes: each note must come back before the next is sent.

use super::traffic::State;
use crate::{
    client::PATIENCE,
    grpc::{Caller, Note},
};
use std::{sync::Arc, time::Duration};
use tokio::time;

/// How many notes a short call has. A long one lasts from the first change to the last.
const NOTES: u32 = 50;

/// Makes one call after the other, or one that lasts.
pub(super) async fn keep_calls(state: Arc<State>, caller: Caller, number: usize, lasts: bool) {
    while !state.is_stopped() {
        match time::timeout(PATIENCE * 10, call(&state, &caller, lasts)).await {
            Ok(Ok(())) => state.count(|tally| tally.calls += 1),
            Ok(Err(error)) => return state.lose(format!("call {number}: {error}")),
            Err(_) => return state.lose(format!("call {number}: it does not end")),
        }
    }
}

async fn call(state: &State, caller: &Caller, lasts: bool) -> Result<(), String> {
    let mut call = caller.ping_pong().await.map_err(|status| format!("not begun: {status}"))?;
    let mut by = None;
    for count in 0.. {
        if state.is_stopped() || !lasts && count == NOTES {
            break;
        }
        let sent = Note { count, payload: vec![count.to_le_bytes()[0]; 100], ..Note::default() };
        call.send.send(sent.clone()).await.map_err(|_| format!("ended after {count} notes"))?;
        let note = time::timeout(PATIENCE, call.receive.message()).await.map_err(|_| "a note does not come back")?;
        let note = note.map_err(|status| format!("after {count} notes: {status}"))?;
        let note = note.ok_or_else(|| format!("ended after {count} notes"))?;
        if *by.get_or_insert_with(|| note.by.clone()) != note.by || (Note { by: String::new(), ..note }) != sent {
            return Err("another note came back".to_owned());
        }
        state.count(|tally| tally.notes += 1);
        time::sleep(Duration::from_millis(10)).await;
    }
    drop(call.send);
    match call.receive.message().await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("a note too many came".to_owned()),
        Err(status) => Err(format!("ended badly: {status}")),
    }
}
