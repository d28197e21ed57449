//! Users and what they may do, and how a broker is, by the API of RabbitMQ's management plug-in.
//!
//! It logs in as the broker's URL and credentials say, who must be an administrator. What would surprise: whatever is put there
//! twice is as it was put last, so all of this may be done again.

use super::access::Credentials;
use super::url::RabbitUrl;
use rabbit_reduce_core::permissions::Permissions;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Response, Url};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// No URL, or a file that cannot be read.
    #[error("{0}")]
    Access(String),
    /// Nobody answers.
    #[error(
        "RabbitMQ's management API at {address} cannot be reached: {reason}; is its plug-in rabbitmq_management enabled?"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// What happened.
        reason: String,
    },
    /// It does not want that.
    #[error("RabbitMQ refuses to {action}: {reason}; user {user:?} has to be an administrator")]
    Refused {
        /// What was asked for.
        action: String,
        /// What it said.
        reason: String,
        /// As whom.
        user: String,
    },
}

/// The API of one broker, for one virtual host.
#[derive(Debug)]
pub struct Management {
    client: Client,
    base: Url,
    login: Login,
    virtual_host: String,
}

struct Login {
    user: String,
    password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Login({})", self.user)
    }
}

/// Whether a URL leads to this machine.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl Management {
    /// The API at `base`, such as `http://127.0.0.1:15672`.
    ///
    /// # Errors
    /// [`ManagementError::Access`]
    pub fn new(base: &str, url: &RabbitUrl, credentials: &Credentials) -> Result<Self, ManagementError> {
        let bad = |reason: String| ManagementError::Access(reason);
        let base: Url = base.parse().map_err(|error| {
            bad(format!("the management API's URL is none ({error}); write http://127.0.0.1:15672"))
        })?;
        if !base.username().is_empty() || base.password().is_some() {
            let reason = "the management API's URL holds a login: leave it out, that of the broker's URL is used";
            return Err(bad(reason.to_owned()));
        }
        if url.is_encrypted() && base.scheme() == "http" && !is_here(&base) {
            let reason = "passwords would go to the management API unencrypted: say https://, or ask it where it runs, at http://127.0.0.1:15672";
            return Err(bad(reason.to_owned()));
        }
        let (password, tls) = credentials.read().map_err(bad)?;
        let authority = url.reveal(password).authority;
        // Whoever is first decides which library encrypts.
        drop(rustls::crypto::ring::default_provider().install_default());
        // Passwords go to that machine, and by way of no other.
        let mut builder = Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().redirect(Policy::none());
        if let Some(authorities) = tls.cert_chain {
            let certificates = Certificate::from_pem_bundle(authorities.as_bytes());
            builder = builder.tls_certs_merge(certificates.map_err(|error| bad(error.to_string()))?);
        }
        let client = builder.build().map_err(|error| bad(error.to_string()))?;
        let login = Login { user: authority.userinfo.username, password: authority.userinfo.password };
        Ok(Self { client, base, login, virtual_host: url.virtual_host().to_owned() })
    }

    /// Makes a user with this password, or gives it this one.
    ///
    /// # Errors
    /// If the API cannot be reached or refuses.
    pub async fn put_user(&self, name: &str, password: &str) -> Result<(), ManagementError> {
        let body = json!({ "password": password, "tags": "" });
        self.put(&["api", "users", name], &body, &format!("make user {name}")).await
    }

    /// Gives a user these permissions, and no others.
    ///
    /// # Errors
    /// As [`Management::put_user`].
    pub async fn put_permissions(&self, user: &str, permissions: &Permissions) -> Result<(), ManagementError> {
        let Permissions { configure, write, read } = permissions;
        let body = json!({ "configure": configure, "write": write, "read": read });
        let path = ["api", "permissions", &self.virtual_host, user];
        self.put(&path, &body, &format!("give user {user} permissions")).await
    }

    /// What the API tells at a path beneath `/api`.
    ///
    /// # Errors
    /// As [`Management::put_user`].
    pub async fn get(&self, path: &[&str]) -> Result<Value, ManagementError> {
        let path = [&["api"], path].concat();
        let answer = self.send(Method::GET, &path, None, "tell how it is").await?;
        let text = answer.text().await.unwrap_or_default();
        serde_json::from_str(&text).map_err(|error| ManagementError::Unreachable {
            address: self.base.to_string(),
            reason: format!("what it says is no JSON ({error})"),
        })
    }

    /// The same of something that each virtual host has, of ours.
    ///
    /// # Errors
    /// As [`Management::put_user`].
    pub async fn get_of_host(&self, what: &str) -> Result<Value, ManagementError> {
        self.get(&[what, &self.virtual_host]).await
    }

    async fn put(&self, path: &[&str], body: &Value, action: &str) -> Result<(), ManagementError> {
        self.send(Method::PUT, path, Some(body), action).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        action: &str,
    ) -> Result<Response, ManagementError> {
        let address = self.base.to_string();
        let mut url = self.base.clone();
        let mut segments = url
            .path_segments_mut()
            .map_err(|()| ManagementError::Access(format!("{address} has no paths: write http://127.0.0.1:15672")))?;
        segments.pop_if_empty().extend(path);
        drop(segments);
        let Login { user, password } = &self.login;
        let mut request = self.client.request(method, url).basic_auth(user, Some(password));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let sent = request.send().await;
        let unreachable = |error: reqwest::Error| ManagementError::Unreachable {
            address: address.clone(),
            reason: crate::process::start::chain(&error.without_url()),
        };
        let answer = sent.map_err(unreachable)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let said = answer.text().await.unwrap_or_default();
        let reason = format!("{status} {}", said.chars().take(200).collect::<String>());
        Err(ManagementError::Refused { action: action.to_owned(), reason, user: user.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_an_encrypted_broker_passwords_go_nowhere_unencrypted_but_to_this_machine() {
        let told = |base: &str, broker: &str| {
            let made = Management::new(base, &broker.parse().unwrap(), &Credentials::default());
            made.err().map(|error| error.to_string())
        };
        let refused = told("http://broker.lan:15672", "amqps://ann@broker.lan/%2f").unwrap();
        assert!(refused.contains("unencrypted") && refused.contains("https://"), "{refused}");
        for base in ["https://broker.lan:15671", "http://127.0.0.1:15672", "http://[::1]:15672", "http://localhost"] {
            assert_eq!(told(base, "amqps://ann@broker.lan/%2f"), None, "{base}");
        }
        assert_eq!(told("http://broker:15672", "amqp://ann@broker/%2f"), None);
    }
}
