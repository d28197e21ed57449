//! From the flags of a role's own HTTP server to a server that listens.

use super::exit::Exit;
use super::start::Failure;
use crate::http::{Site, SiteConfig};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a role is served, and to whom.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Address and port to be served at, as 127.0.0.1:8080; beyond loopback a token and a certificate are demanded
    #[arg(long, env = "RABBIT_REDUCE_HTTP", value_name = "ADDRESS", value_parser = address)]
    pub http: Option<SocketAddr>,
    /// Another name that requests on loopback may be for; give it again for more
    #[arg(long, env = "RABBIT_REDUCE_HTTP_HOST", value_name = "HOST", value_delimiter = ',', requires = "http")]
    pub http_host: Vec<String>,
    /// File with the token that requests have to know
    #[arg(long, env = "RABBIT_REDUCE_HTTP_TOKEN_FILE", value_name = "FILE")]
    pub http_token_file: Option<PathBuf>,
    /// File with the certificate (PEM) to be served with
    #[arg(long, env = "RABBIT_REDUCE_HTTP_CERT", value_name = "FILE", requires = "http_key")]
    pub http_cert: Option<PathBuf>,
    /// File with that certificate's key (PEM)
    #[arg(long, env = "RABBIT_REDUCE_HTTP_KEY", value_name = "FILE", requires = "http_cert")]
    pub http_key: Option<PathBuf>,
}

fn address(typed: &str) -> Result<SocketAddr, String> {
    typed.parse().map_err(|_| "write an IP address and a port, as 127.0.0.1:8080".to_owned())
}

impl HttpArgs {
    /// Listens, if that is asked for.
    ///
    /// # Errors
    /// With the exit code of wrong usage.
    pub async fn open(&self) -> Result<Option<Site>, Failure> {
        let Some(address) = self.http else {
            if self.http_token_file.is_some() || self.http_cert.is_some() {
                tracing::warn!("nothing is served over HTTP: token and certificate are given, and no --http");
            }
            return Ok(None);
        };
        let config = SiteConfig {
            address,
            hosts: self.http_host.clone(),
            token: self.http_token_file.clone(),
            identity: self.http_cert.clone().zip(self.http_key.clone()),
        };
        Site::open(&config).await.map(Some).map_err(|error| Failure::new(Exit::Usage, error))
    }
}
