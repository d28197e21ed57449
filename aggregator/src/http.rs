//! The page, the API and the figures of an aggregator, over HTTP.
//!
//! Whatever is asked here is asked of the aggregators by way of the broker, as producers do; only results are read out of the store
//! itself. What would surprise: so the page of any aggregator shows the jobs of all, and says so when the broker is away.

mod api;
mod events;
mod figures;
mod page;
mod result;

use self::events::Events;
use crate::archive::Archive;
use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use rabbit_reduce_core::message::{Answer, Ask};
use rabbit_reduce_core::topology::{QUEUE_BYTES, Topology, queue};
use rabbit_reduce_runtime::broker::Broker;
use rabbit_reduce_runtime::client::{Client, ClientError, SHORT};
use rabbit_reduce_runtime::http::Site;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Pages of results that are read at once: each merges all parts of one.
const READERS: usize = 2;
/// Results that are handed over at once, as files.
const DOWNLOADS: usize = 8;

/// What requests are answered with.
#[derive(Clone)]
struct Desk {
    client: Client,
    archive: Archive,
    events: Events,
    readers: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
}

impl Desk {
    async fn ask(&self, ask: Ask) -> Result<Answer, ClientError> {
        asked(&self.client, ask).await.map(|(answer, _)| answer)
    }
}

/// An answer, and what comes with it.
async fn asked(client: &Client, ask: Ask) -> Result<(Answer, Bytes), ClientError> {
    client.ask(ask, &[], Some(SHORT), &|text| tracing::debug!("{text}")).await
}

/// Serves until somebody wants us to stop.
pub(crate) async fn serve(site: Site, archive: Archive, broker: Arc<dyn Broker>, shutdown: Shutdown) {
    let client = Client::new(broker);
    let events = Events::start(client.clone(), shutdown.clone());
    let (readers, downloads) = (Arc::new(Semaphore::new(READERS)), Arc::new(Semaphore::new(DOWNLOADS)));
    let desk = Desk { client, archive, events, readers, downloads };
    let api = Router::new()
        .route("/jobs", get(api::jobs))
        .route("/jobs/{job}", get(api::job))
        .route("/jobs/{job}/result", get(result::page))
        .route("/jobs/{job}/{file}", get(result::download))
        .route("/jobs/{job}/top", get(api::top))
        .route("/jobs/{job}/letters", get(api::letters))
        .route("/jobs/{job}/letters/drop", post(api::drop_letters))
        .route("/jobs/{job}/cancel", post(api::cancel))
        .route("/jobs/{job}/remove", post(api::remove))
        .route("/jobs/{job}/retry", post(api::retry))
        .route("/broker", get(api::broker))
        .route("/events", get(events::stream))
        .route("/openapi.json", get(page::openapi))
        .fallback(api::nothing)
        .method_not_allowed_fallback(api::otherwise)
        .with_state(desk.clone());
    let paths = page::router().nest("/api/v1", api);
    let (asks, figures) = (desk.clone(), desk);
    let ready = move || {
        let desk = asks.clone();
        async move {
            match desk.ask(Ask::Workers).await {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        }
    };
    let metrics = move || {
        let desk = figures.clone();
        async move { figures::text(&desk).await }
    };
    site.serve(paths, ready, metrics, shutdown).await;
}

/// The queues of the namespace, by their names in it.
fn queues() -> impl Iterator<Item = String> {
    let topology = Topology::new("", QUEUE_BYTES);
    topology.queues.into_iter().map(|queue| queue.name).filter(|name| name != queue::STORE)
}
