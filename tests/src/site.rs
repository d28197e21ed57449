//! What a role serves over HTTP, asked as any client would.
//!
//! It knows no path.

use crate::processes::Running;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use serde_json::Value;

/// A role's site.
#[derive(Debug)]
pub struct Site {
    /// Where it is, without a slash at its end.
    pub url: String,
    client: Client,
}

/// An answer.
#[derive(Debug)]
pub struct Told {
    /// The code.
    pub status: u16,
    /// What comes before the body.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Told {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("the answer comes whole, as text") }
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not, or if the code is not this one.
    #[must_use]
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Site {
    /// The site of a process that was started with `--http` and port 0, once it is served.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn of(role: &mut Running) -> Self {
        Self::trusting(role, None)
    }

    /// The same, whose certificate these authorities (PEM) vouch for.
    ///
    /// # Panics
    /// As [`Site::of`].
    #[must_use]
    pub fn trusting(role: &mut Running, authorities: Option<&[u8]>) -> Self {
        // Whoever is first decides which library encrypts.
        drop(rustls::crypto::ring::default_provider().install_default());
        let said = role.says("served url=");
        let (_, rest) = said.split_once("served url=\"").expect("just said");
        let (url, _) = rest.split_once("/\"").expect("the line is whole");
        let mut client = Client::builder().no_proxy();
        if let Some(authorities) = authorities {
            client = client.tls_certs_only([Certificate::from_pem(authorities).expect("it is PEM")]);
        }
        Self { url: url.to_owned(), client: client.build().expect("a client needs nothing") }
    }

    /// A request, to be added to.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends one.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn send(request: RequestBuilder) -> Told {
        Told::of(request.send().await.expect("somebody answers")).await
    }

    /// What is at a path.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn get(&self, path: &str) -> Told {
        Self::send(self.request(Method::GET, path)).await
    }

    /// Does something, as our page would.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn post(&self, path: &str, body: &str) -> Told {
        let request = self.request(Method::POST, path).header("x-rabbit-reduce", "1");
        Self::send(request.header("content-type", "application/json").body(body.to_owned())).await
    }
}
