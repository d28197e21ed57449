//! How RabbitMQ lets us in: as whom, and what is read from files for that.
//!
//! It opens connections and keeps none. What would surprise: the files are read anew for each connection, so that a password or a
//! certificate that was changed holds from the next one on, and whoever is connected goes on as it is.

use super::RabbitConfig;
use super::failure::{classify, unreachable};
use super::reach::reach;
use super::url::RabbitUrl;
use crate::broker::BrokerError;
use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_lapin::lapin::runtime::default_runtime;
use deadpool_lapin::lapin::tcp::{AsyncTcpStream, OwnedIdentity, OwnedTLSConfig};
use deadpool_lapin::lapin::uri::{AMQPScheme, AMQPUri};
use deadpool_lapin::lapin::{Connection, ConnectionProperties, Error, ErrorKind};
use std::path::{Path, PathBuf};

/// Files that a broker's URL does not name. Each is read whenever somebody connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user's password, in place of the URL's; a line feed at its end is none of it.
    pub password: Option<PathBuf>,
    /// Certificates (PEM) of those who may vouch for the broker, beside those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// Our own certificate with those that vouch for it, and its key, both PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Credentials {
    /// Whether what we are let in by is in a file, and may change there.
    pub(super) const fn let_us_in(&self) -> bool {
        self.password.is_some() || self.identity.is_some()
    }

    /// Reads every file, to see that it can be read.
    ///
    /// # Errors
    /// Names the file that cannot be.
    pub fn check(&self) -> Result<(), String> {
        self.read().map(drop)
    }

    pub(super) fn read(&self) -> Result<(Option<String>, OwnedTLSConfig), String> {
        let password = self.password.as_deref().map(password_in).transpose()?;
        let cert_chain = self.authorities.as_deref().map(text).transpose()?;
        let identity = match &self.identity {
            Some((pem, key)) => Some(OwnedIdentity::PKCS8 { pem: bytes(pem)?, key: bytes(key)? }),
            None => None,
        };
        Ok((password, OwnedTLSConfig { identity, cert_chain }))
    }
}

/// The password in a file, without a line feed at its end.
///
/// # Errors
/// Names the file, if it cannot be read or holds none.
pub fn password_in(path: &Path) -> Result<String, String> {
    let text = text(path)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    if password.is_empty() { Err(format!("{} holds no password", path.display())) } else { Ok(password.to_owned()) }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn text(path: &Path) -> Result<String, String> {
    String::from_utf8(bytes(path)?).map_err(|_| format!("{} is not text in UTF-8", path.display()))
}

/// Opens a connection for this purpose.
pub(super) async fn open(config: &RabbitConfig, purpose: &str) -> Result<Connection, BrokerError> {
    let RabbitConfig { url, credentials, connection_name, .. } = config;
    // A few kilobytes from files that somebody put here for this.
    let (password, tls) = credentials.read().map_err(|reason| unreachable(url, reason))?;
    let name = format!("{connection_name} ({purpose})");
    let options = ConnectionProperties::default().with_connection_name(name.into());
    let failed = |error: Error| explained(url, credentials, &error);
    let runtime = default_runtime().map_err(failed)?;
    let address = reach(&url.address()).await.map_err(|error| unreachable(url, error.to_string()))?;
    let connect = async move |uri: AMQPUri, runtime| {
        let stream = AsyncTcpStream::connect(&runtime, address).await?;
        match uri.scheme {
            AMQPScheme::AMQP => Ok(stream),
            AMQPScheme::AMQPS => Ok(stream.into_tls(&uri.authority.host, tls.as_ref()).await?),
        }
    };
    Connection::connector(url.reveal(password), runtime, connect, options).await.map_err(failed)
}

/// What keeps us from being connected, with the remedy where it is about certificates.
fn explained(url: &RabbitUrl, credentials: &Credentials, error: &Error) -> BrokerError {
    // What is no matter of files or certificates; nobody listens there, or nobody is let in by name.
    if !url.is_encrypted() || !matches!(error.kind(), ErrorKind::IOError(_)) {
        return classify(url, "connect", error);
    }
    let reason = error.to_string();
    let remedy = if reason.contains("invalid peer certificate") {
        "name the certificate of who vouches for the broker (--broker-ca), and the broker as its own certificate does"
    } else if reason.contains("corrupt message") {
        "it may speak plain AMQP there: say amqp:// in place of amqps://"
    } else if credentials.identity.is_none() {
        // It may say so, or just hang up.
        "it may ask for a certificate (--broker-cert, --broker-key)"
    } else {
        "it may not accept our certificate (--broker-cert)"
    };
    unreachable(url, format!("{reason}; {remedy}"))
}

/// Who connects for publishing lanes.
#[derive(Debug)]
pub(super) struct Publishers(pub(super) RabbitConfig);

impl Manager for Publishers {
    type Type = Connection;
    type Error = BrokerError;

    async fn create(&self) -> Result<Connection, BrokerError> {
        open(&self.0, "publish").await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<BrokerError> {
        if connection.status().connected() { Ok(()) } else { Err(RecycleError::message("it is closed")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_anew_each_time_and_named_where_they_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let credentials = Credentials { password: Some(path.clone()), ..Credentials::default() };
        let reason = credentials.check().unwrap_err();
        assert!(reason.contains(&path.display().to_string()) && reason.contains("cannot be read"), "{reason}");
        for (written, read) in [("one\n", "one"), ("two", "two"), ("three\n\n", "three\n")] {
            std::fs::write(&path, written).unwrap();
            assert_eq!(credentials.read().unwrap().0.as_deref(), Some(read));
        }
        std::fs::write(&path, b"\xff").unwrap();
        assert!(credentials.check().unwrap_err().contains("not text"));
        std::fs::write(&path, "\n").unwrap();
        assert!(credentials.check().unwrap_err().ends_with("password holds no password"));
    }
}
