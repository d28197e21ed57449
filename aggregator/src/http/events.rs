//! What changes, told to pages as it happens: one look for all of them, a second apart at the least.
//!
//! What would surprise: nobody looks while nobody listens; and a look that takes long is not taken again for a while.

use super::{Desk, api, asked};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use rabbit_reduce_core::message::{Answer, Ask};
use rabbit_reduce_runtime::client::Client;
use rabbit_reduce_runtime::http::guard;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::standing::json::status_value;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};

/// Between two looks at the least; and so many times as long as one took.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSES_PER_LOOK: u32 = 5;
/// At the most: whoever was away is seen again soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The newest jobs, which are looked at.
const JOBS: u32 = 100;
/// Pages that may listen at once.
const LISTENERS: usize = 64;
/// Events that a slow page may lag behind; then it begins anew.
const LAG: usize = 16;

/// What there is to tell.
#[derive(Clone, Debug)]
struct Told {
    name: &'static str,
    text: Arc<str>,
}

/// Where pages listen.
#[derive(Clone)]
pub(super) struct Events {
    told: broadcast::Sender<Told>,
    listeners: Arc<Semaphore>,
    /// How many pages have begun to listen.
    begun: Arc<AtomicU64>,
}

impl Events {
    /// Looks for as long as nobody wants us to stop.
    pub(super) fn start(client: Client, shutdown: Shutdown) -> Self {
        let (told, _) = broadcast::channel(LAG);
        let (telling, begun) = (told.clone(), Arc::new(AtomicU64::new(0)));
        let beginning = Arc::clone(&begun);
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.graceful() => {}
                () = look(client, telling, &beginning) => {}
            }
        });
        Self { told, listeners: Arc::new(Semaphore::new(LISTENERS)), begun }
    }
}

async fn look(client: Client, told: broadcast::Sender<Told>, begun: &AtomicU64) {
    let mut known: HashMap<String, Value> = HashMap::new();
    let mut served = 0;
    loop {
        if told.receiver_count() == 0 {
            known.clear();
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let newest = begun.load(Ordering::Relaxed);
        if std::mem::replace(&mut served, newest) != newest {
            // Whoever is new knows nothing.
            known.clear();
        }
        let began = clock::instant();
        for event in events(&client, &mut known).await {
            // Whoever left meanwhile is missed by nobody.
            drop(told.send(event));
        }
        let pause = (clock::since(began) * PAUSES_PER_LOOK).clamp(PAUSE, LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
    }
}

/// What there is to tell, beside what is `known` already.
async fn events(client: &Client, known: &mut HashMap<String, Value>) -> Vec<Told> {
    let jobs = match asked(client, Ask::JobsBefore { before: None, limit: JOBS }).await {
        Ok((Answer::Jobs(jobs), _)) => jobs,
        Ok(_) => return Vec::new(),
        Err(error) => return vec![event("trouble", &json!({ "error": error.to_string() }))],
    };
    let mut changed = Vec::new();
    let mut now = HashMap::new();
    for status in &jobs {
        let value = status_value(status, &[]);
        let id = status.job.to_string();
        if known.get(&id) != Some(&value) {
            changed.push(value.clone());
        }
        now.insert(id, value);
    }
    // Those that are gone are told by their ids, which are in the order of their times: what is older than all of the list may
    // only have been pushed out of it.
    let oldest = jobs.last().filter(|_| jobs.len() == JOBS as usize).map(|job| job.job.to_string());
    let is_gone = |id: &&String| !now.contains_key(*id) && oldest.as_ref().is_none_or(|oldest| *id > oldest);
    let gone: Value = known.keys().filter(is_gone).cloned().collect();
    *known = now;
    let mut told = vec![event("jobs", &changed.into())];
    if gone.as_array().is_some_and(|gone| !gone.is_empty()) {
        told.push(event("gone", &gone));
    }
    if let Ok(broker) = api::broker_value(client).await {
        told.push(event("broker", &broker));
    }
    told
}

fn event(name: &'static str, value: &Value) -> Told {
    Told { name, text: value.to_string().into() }
}

/// Tells one page.
pub(super) async fn stream(State(desk): State<Desk>) -> Response {
    let Ok(place) = Arc::clone(&desk.events.listeners).try_acquire_owned() else {
        return guard::error(StatusCode::SERVICE_UNAVAILABLE, "too many pages listen: close some of them");
    };
    let told = desk.events.told.subscribe();
    desk.events.begun.fetch_add(1, Ordering::Relaxed);
    let events = futures_util::stream::unfold((told, place), |(mut told, place)| async move {
        // Who lags too far behind has its stream ended, and connects anew.
        let Told { name, text } = told.recv().await.ok()?;
        let event = Event::default().event(name).data(&*text);
        Some((Ok::<_, Infallible>(event), (told, place)))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
