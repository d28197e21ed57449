//! Where RabbitMQ is and who asks: a URL that cannot be printed with its password.
//!
//! It knows nothing of connections. What would surprise: a URL that ends in `/` names the virtual host with the empty name; the
//! default one is written `%2f`, or left out with its slash.

use deadpool_lapin::lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Seconds between heartbeats unless the URL says otherwise: a dead peer is noticed within two of them, and a loaded machine
/// still answers in time.
const HEARTBEAT_SECONDS: u16 = 15;

/// An AMQP URL. Printing it, also with `{:?}`, leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct RabbitUrl {
    uri: AMQPUri,
}

/// Why a text is no AMQP URL. The text itself is not repeated, since it may hold a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an AMQP URL ({reason}); write amqp://user:password@host:5672/%2f")]
pub struct BadUrl {
    reason: String,
}

impl FromStr for RabbitUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let bad = |reason: &str| BadUrl { reason: reason.to_owned() };
        let uri: AMQPUri =
            text.parse().map_err(|reason: String| bad(if reason.contains(text) { "no host" } else { &reason }))?;
        // The parser reads an address in brackets as no host at all, and would go to localhost instead.
        if text.contains("@[") || text.contains("//[") {
            return Err(bad("an IPv6 address cannot be read; use a host name"));
        }
        Ok(Self { uri })
    }
}

impl RabbitUrl {
    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    /// The user's name; of one whom the broker knows by a certificate, what stands for that.
    #[must_use]
    pub fn user(&self) -> &str {
        match self.uri.query.auth_mechanism {
            Some(SASLMechanism::External) => "of the certificate",
            _ => &self.uri.authority.userinfo.username,
        }
    }

    /// Whether what goes there is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }

    /// Whether it holds a password that is a secret.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        let password = &self.uri.authority.userinfo.password;
        !password.is_empty() && password != "guest"
    }

    /// The virtual host.
    #[must_use]
    pub fn virtual_host(&self) -> &str {
        &self.uri.vhost
    }

    /// How long the URL wants to wait for a connection, if it says so.
    pub(super) fn connect_timeout(&self) -> Option<Duration> {
        self.uri.query.connection_timeout.map(Duration::from_millis)
    }

    /// The whole URL with its password, or with another one, for the one place that connects.
    pub(super) fn reveal(&self, password: Option<String>) -> AMQPUri {
        let mut uri = self.uri.clone();
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        if let Some(password) = password {
            uri.authority.userinfo.password = password;
        }
        uri
    }
}

impl fmt::Display for RabbitUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vhost = if self.virtual_host() == "/" { "%2f" } else { self.virtual_host() };
        write!(out, "{}://{}@{}/{vhost}", self.uri.scheme, self.user(), self.address())
    }
}

impl fmt::Debug for RabbitUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "RabbitUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let url: RabbitUrl = "amqp://ann:s3cret@broker:5673/%2f".parse().unwrap();
        assert_eq!(url.to_string(), "amqp://ann@broker:5673/%2f");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert_eq!(url.reveal(None).authority.userinfo.password, "s3cret");
        assert_eq!(url.reveal(Some("other".to_owned())).authority.userinfo.password, "other");
        assert!(url.has_secret() && !"amqp://guest:guest@h".parse::<RabbitUrl>().unwrap().has_secret());
        for text in
            ["amqp:s3cret", "http://ann:s3cret@broker", "amqp://ann:s3cret@[::1]/", "s3cret", "amqp://a:s3cret@h:x"]
        {
            let error = text.parse::<RabbitUrl>().unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_heartbeat_is_asked_for_unless_the_url_has_its_own() {
        let heartbeat = |text: &str| text.parse::<RabbitUrl>().unwrap().reveal(None).query.heartbeat;
        assert_eq!(heartbeat("amqp://h"), Some(15));
        assert_eq!(heartbeat("amqp://h/%2f?heartbeat=40"), Some(40));
    }

    #[test]
    fn a_user_of_a_certificate_has_no_name_here() {
        let url: RabbitUrl = "amqps://broker/%2f?auth_mechanism=external".parse().unwrap();
        assert_eq!(
            (url.address().as_str(), url.user(), url.is_encrypted()),
            ("broker:5671", "of the certificate", true)
        );
    }
}
