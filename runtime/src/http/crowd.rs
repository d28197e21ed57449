//! No more connections at once than a process has room for: whoever comes when all places are taken is hung up on.
//!
//! What would surprise: the place goes with the service of a connection, which lives as long as that.

use axum_server::accept::Accept;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

/// An acceptor with so many places.
#[derive(Clone, Debug)]
pub(super) struct Crowd<A> {
    acceptor: A,
    places: Arc<Semaphore>,
}

impl<A> Crowd<A> {
    pub(super) fn new(acceptor: A, places: usize) -> Self {
        Self { acceptor, places: Arc::new(Semaphore::new(places)) }
    }
}

impl<A, I, S> Accept<I, S> for Crowd<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = A::Stream;
    type Service = Seated<A::Service>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Box::pin(async { Err(io::Error::other("too many connections")) });
        };
        let accepted = self.acceptor.accept(stream, service);
        Box::pin(async {
            let (stream, service) = accepted.await?;
            Ok((stream, Seated { service, _place: Arc::new(place) }))
        })
    }
}

/// The service of a connection, and its place.
#[derive(Clone, Debug)]
pub(super) struct Seated<S> {
    service: S,
    _place: Arc<OwnedSemaphorePermit>,
}

impl<R, S: Service<R>> Service<R> for Seated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.service.call(request)
    }
}
