//! A role's own HTTP server: where it listens, and who is let in.
//!
//! It knows no role and no path but what every role has: `/healthz`, `/readyz`, `/metrics`. What would surprise: beyond loopback it
//! does not start without a token and a certificate; on loopback, where anybody on the machine may come, a request for a host of
//! another name is refused, since a page of a stranger may have been given our address under a name of its own.

mod crowd;
pub mod guard;
pub mod metrics;

use self::crowd::Crowd;
use self::guard::{Guard, Known, guarded};
use crate::broker::rabbit::password_in;
use crate::process::clock;
use crate::process::shutdown::Shutdown;
use axum::Extension;
pub use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum_server::tls_rustls::RustlsConfig;
use axum_server::{Address, Handle, Server};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection may take until its first request is there.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one may be open without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it is remembered whether a role is ready: anybody may ask.
const READY_FOR: Duration = Duration::from_secs(1);
/// How long requests that are being answered may take when the process leaves.
const FAREWELL: Duration = Duration::from_secs(1);

/// Connections at once. A process may have a thousand files open, and its work needs most of them.
const MAX_CONNECTIONS: usize = 128;

/// Where a role is served, and to whom.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// Names, beside those of loopback, that requests on loopback may be for.
    pub hosts: Vec<String>,
    /// A file with what a request has to know.
    pub token: Option<PathBuf>,
    /// A certificate with those that vouch for it, and its key, both PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why it is not served.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// Strangers could come.
    #[error(
        "--http {0} can be reached from other machines: give it --http-token-file, and --http-cert with --http-key; or a loopback \
         address, as 127.0.0.1:8080"
    )]
    Open(SocketAddr),
    /// The address.
    #[error("--http {address}: nobody can listen there; choose another port, or stop who has it")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The token.
    #[error("--http-token-file: {0}")]
    Token(String),
    /// The certificate.
    #[error("--http-cert and --http-key: they cannot be used")]
    Identity(#[source] io::Error),
}

/// An address as the host of a URL.
fn address_named(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// A server that listens already.
pub struct Site {
    listener: TcpListener,
    identity: Option<RustlsConfig>,
    guard: Arc<Guard>,
}

impl Site {
    /// Listens.
    ///
    /// # Errors
    /// Says which of what it was given cannot be used.
    pub async fn open(config: &SiteConfig) -> Result<Self, SiteError> {
        let SiteConfig { address, hosts, token, identity } = config;
        let alone = address.ip().is_loopback();
        if !alone && (token.is_none() || identity.is_none()) {
            return Err(SiteError::Open(*address));
        }
        let token = token.as_deref().map(password_in).transpose();
        let token = token.map_err(|reason| SiteError::Token(reason.replace("holds no password", "holds no token")))?;
        let identity = match identity {
            Some((certificate, key)) => {
                // Whoever is first decides which library encrypts.
                drop(rustls::crypto::ring::default_provider().install_default());
                let read = RustlsConfig::from_pem_file(certificate, key).await.map_err(SiteError::Identity)?;
                // Its other version keeps connections open whatever they are used for.
                let mut config = rustls::ServerConfig::clone(&read.get_inner());
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some(RustlsConfig::from_config(Arc::new(config)))
            }
            None => None,
        };
        let listener =
            TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        let listener = listener.map_err(|source| SiteError::Listen { address: *address, source })?;
        let hosts = [&hosts[..], &[address_named(*address)]].concat();
        Ok(Self { listener, identity, guard: Arc::new(Guard::new(token.as_deref(), &hosts)) })
    }

    /// Where it can be reached.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        let address = self.listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
        format!("{scheme}://{address}/")
    }

    /// Serves these paths, and what all roles have: `ready` says why it is not ready, `metrics` all that is to be told.
    /// Ends soon after somebody wants us to stop.
    pub async fn serve<R, M>(
        self,
        paths: Router,
        ready: impl Fn() -> R + Clone + Send + Sync + 'static,
        metrics: impl Fn() -> M + Clone + Send + Sync + 'static,
        shutdown: Shutdown,
    ) where
        R: Future<Output = Result<(), String>> + Send + 'static,
        M: Future<Output = String> + Send + 'static,
    {
        let known = Arc::new(tokio::sync::Mutex::new(None::<(Instant, Result<(), String>)>));
        let readiness = move |known_here: Option<Extension<Known>>| async move {
            // Whoever asks meanwhile waits for the same answer.
            let mut told = known.lock().await;
            let result = match &*told {
                Some((at, result)) if clock::since(*at) < READY_FOR => result.clone(),
                _ => {
                    let result = ready().await;
                    *told = Some((clock::instant(), result.clone()));
                    result
                }
            };
            match result {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                // The reason names hosts and users.
                Err(reason) if known_here.is_some() => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
                Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready; with the token it is told why\n".to_owned()),
            }
        };
        let figures = move || async move { ([("content-type", metrics::CONTENT_TYPE)], metrics().await) };
        let router = paths
            .route("/healthz", get(async || "alive\n"))
            .route("/readyz", get(readiness))
            .route("/metrics", get(figures))
            .layer(from_fn_with_state(Arc::clone(&self.guard), guarded));
        let handle = Handle::new();
        let leaving = handle.clone();
        tokio::spawn(async move {
            shutdown.graceful().await;
            leaving.graceful_shutdown(Some(FAREWELL));
        });
        let service = router.into_make_service();
        let served = match self.identity {
            Some(identity) => match axum_server::from_tcp_rustls(self.listener, identity) {
                Ok(server) => bounded(server).handle(handle).serve(service).await,
                Err(error) => Err(error),
            },
            None => match axum_server::from_tcp(self.listener) {
                Ok(server) => bounded(server).handle(handle).serve(service).await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = served {
            tracing::error!(%error, "nothing is served over HTTP any more");
        }
    }
}

/// A server with a limit on everything that whoever connects may have of it.
fn bounded<A: Address, Acceptor>(server: Server<A, Acceptor>) -> Server<A, Crowd<Acceptor>> {
    let mut server = server.http1_only().map(|acceptor| Crowd::new(acceptor, MAX_CONNECTIONS));
    server.http_builder().http1().header_read_timeout(IDLE_TIMEOUT);
    server.first_request_timeout(REQUEST_TIMEOUT)
}
