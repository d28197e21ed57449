//! Who is let in over HTTP: judged before anything else looks at a request.
//!
//! It knows no path but those that say whether the process is well, which need no token. What would surprise: what changes something
//! needs a header that browsers let no other site's page send, so that nobody acts by way of somebody who is let in.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Requests in a second, from all together who are let in, and as many at once.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("it is more than none");
/// From all together who are not: they take nothing from the others.
const STRANGERS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("it is more than none");
/// What a request that changes something has to have.
pub const INTENT: HeaderName = HeaderName::from_static("x-rabbit-reduce");
/// Pages may take nothing from elsewhere, and nobody may frame them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// See the module.
pub(super) struct Guard {
    /// Its digest: comparing digests tells nothing of the token by the time it takes.
    token: Option<[u8; 32]>,
    hosts: Vec<String>,
    rate: DefaultDirectRateLimiter,
    strangers: DefaultDirectRateLimiter,
}

/// A request that is let in, where a handler wants to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known;

impl Guard {
    pub(super) fn new(token: Option<&str>, hosts: &[String]) -> Self {
        let token = token.map(|token| Sha256::digest(token).into());
        let ours = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let hosts = ours.into_iter().chain(hosts.iter().map(|host| host.to_ascii_lowercase())).collect();
        let limiter = |rate| RateLimiter::direct(Quota::per_second(rate));
        Self { token, hosts, rate: limiter(REQUESTS_PER_SECOND), strangers: limiter(STRANGERS_PER_SECOND) }
    }

    /// Whether whoever asks is let in: knows the token, or came by a name of ours where there is none.
    fn admits(&self, headers: &HeaderMap, authority: Option<&str>) -> bool {
        self.token.as_ref().map_or_else(|| self.is_ours(headers, authority), |token| knows(headers, token))
    }

    /// Why a request is refused. `authority` is what it is for, where no header says so.
    fn refuses(&self, method: &Method, path: &str, headers: &HeaderMap, authority: Option<&str>) -> Option<Response> {
        let refused = |status: StatusCode, reason: &str| Some(error(status, reason));
        if path == "/healthz" {
            return None;
        }
        let admitted = self.admits(headers, authority);
        let rate = if admitted { &self.rate } else { &self.strangers };
        if rate.check().is_err() {
            let mut busy = error(StatusCode::TOO_MANY_REQUESTS, "too many requests: ask again in a second");
            busy.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return Some(busy);
        }
        if path == "/readyz" {
            return None;
        }
        if !admitted && self.token.is_some() {
            let mut unknown = error(StatusCode::UNAUTHORIZED, "this needs the token of --http-token-file");
            let basic = HeaderValue::from_static("Basic realm=\"rabbit-reduce\", charset=\"UTF-8\"");
            unknown.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
            return Some(unknown);
        }
        if !admitted {
            let reason = "this is no name of ours: ask for 127.0.0.1 or localhost, or name the host with --http-host";
            return refused(StatusCode::MISDIRECTED_REQUEST, reason);
        }
        let harmless = [Method::GET, Method::HEAD].contains(method);
        if !harmless && !headers.contains_key(INTENT) {
            return refused(StatusCode::FORBIDDEN, "what changes something needs the header X-Rabbit-Reduce");
        }
        let foreign = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
        if !harmless && foreign {
            return refused(StatusCode::FORBIDDEN, "another site's page may change nothing here");
        }
        None
    }

    fn is_ours(&self, headers: &HeaderMap, authority: Option<&str>) -> bool {
        // In HTTP/2 it stands where the path is.
        let host = headers.get(header::HOST).map_or(authority, |host| host.to_str().ok());
        let Some(host) = host else { return false };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        self.hosts.contains(&name.to_ascii_lowercase())
    }
}

/// Whether a request has the token of this digest: as a bearer's, or as the password of any user.
fn knows(headers: &HeaderMap, token: &[u8; 32]) -> bool {
    let Some(given) = headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok()) else { return false };
    let given = match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim().as_bytes().to_vec(),
        Some((scheme, login)) if scheme.eq_ignore_ascii_case("basic") => {
            let Ok(login) = STANDARD.decode(login.trim()) else { return false };
            let Some(colon) = login.iter().position(|byte| *byte == b':') else { return false };
            login[colon + 1..].to_vec()
        }
        _ => return false,
    };
    <[u8; 32]>::from(Sha256::digest(given)) == *token
}

/// Lets requests through, and answers with what keeps browsers from harm.
pub(super) async fn guarded(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let (headers, authority) = (request.headers(), authority.as_deref());
    let refused = guard.refuses(request.method(), request.uri().path(), headers, authority);
    let admitted = guard.admits(headers, authority);
    let mut response = match refused {
        Some(refused) => refused,
        None => {
            if admitted {
                request.extensions_mut().insert(Known);
            }
            next.run(request).await
        }
    };
    let headers = response.headers_mut();
    let mut says = |name: HeaderName, value: &'static str| drop(headers.insert(name, HeaderValue::from_static(value)));
    if !admitted {
        // There are only so many, and who is not let in keeps none.
        says(header::CONNECTION, "close");
    }
    says(header::CONTENT_SECURITY_POLICY, POLICY);
    says(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    says(header::X_FRAME_OPTIONS, "DENY");
    says(header::REFERRER_POLICY, "no-referrer");
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// An error as the API tells it.
#[must_use]
pub fn error(status: StatusCode, reason: &str) -> Response {
    let body = Body::from(format!("{}\n", json!({ "error": reason })));
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn headers(of: &[(&str, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[track_caller]
    fn judged(guard: &Guard, method: &Method, path: &str, of: &[(&str, &str)], status: Option<u16>) {
        let refused = guard.refuses(method, path, &headers(of), None).map(|response| response.status().as_u16());
        assert_eq!(refused, status, "{method} {path} {of:?}");
    }

    #[test]
    fn on_loopback_only_hosts_of_ours_are_answered() {
        let guard = Guard::new(None, &["Box.Example".to_owned()]);
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "[::1]", "box.example:80"] {
            judged(&guard, &Method::GET, "/", &[("host", host)], None);
        }
        for host in ["evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example", "", "[::2]", ":80"] {
            judged(&guard, &Method::GET, "/api/v1/jobs", &[("host", host)], Some(421));
        }
        judged(&guard, &Method::GET, "/metrics", &[], Some(421));
        judged(&guard, &Method::GET, "/healthz", &[], None);
        // In HTTP/2 no header says what it is for.
        let told = |authority| guard.refuses(&Method::GET, "/", &HeaderMap::new(), Some(authority)).is_none();
        assert!(told("localhost:8443") && !told("evil.example"));
    }

    #[test]
    fn with_a_token_only_who_knows_it_is_let_in() {
        let guard = Guard::new(Some("s3:cret"), &[]);
        let basic = format!("Basic {}", STANDARD.encode("anyone:s3:cret"));
        for given in ["Bearer s3:cret", "bearer s3:cret", basic.as_str()] {
            judged(&guard, &Method::GET, "/", &[("authorization", given)], None);
        }
        let wrong = format!("Basic {}", STANDARD.encode("s3:cret:"));
        for given in ["Bearer s3:cre", "s3:cret", "Basic s3:cret", "Digest s3:cret", "Bearer", wrong.as_str()] {
            judged(&guard, &Method::GET, "/metrics", &[("authorization", given)], Some(401));
        }
        judged(&guard, &Method::GET, "/", &[("host", "localhost")], Some(401));
        judged(&guard, &Method::GET, "/readyz", &[], None);
    }

    #[test]
    fn no_page_of_another_site_changes_anything() {
        let guard = Guard::new(None, &[]);
        let host = ("host", "localhost");
        judged(&guard, &Method::POST, "/", &[host], Some(403));
        judged(&guard, &Method::POST, "/", &[host, ("x-rabbit-reduce", "1")], None);
        judged(&guard, &Method::DELETE, "/", &[host], Some(403));
        let foreign = [host, ("x-rabbit-reduce", "1"), ("sec-fetch-site", "cross-site")];
        judged(&guard, &Method::POST, "/", &foreign, Some(403));
        judged(&guard, &Method::POST, "/", &[host, ("x-rabbit-reduce", "1"), ("sec-fetch-site", "same-origin")], None);
    }

    #[test]
    fn who_asks_too_often_is_asked_to_wait() {
        let guard = Guard::new(None, &[]);
        let ask = |path: &str, of: &[(&str, &str)]| guard.refuses(&Method::GET, path, &headers(of), None);
        let known = [("host", "localhost")];
        // Strangers take nothing from who is let in, and nobody takes the sign of life.
        let strangers: Vec<Response> = (0..1000).filter_map(|_| ask("/", &[])).collect();
        let count = |of: &[Response], status: u16| of.iter().filter(|told| told.status() == status).count();
        assert!(count(&strangers, 429) > 900 && count(&strangers, 421) >= 20);
        assert!(ask("/", &known).is_none());
        let busy: Vec<Response> = (0..1000).filter_map(|_| ask("/", &known)).collect();
        assert!(count(&busy, 429) > 800 && count(&busy, 429) == busy.len(), "{}", busy.len());
        assert_eq!(busy[0].headers()["retry-after"], "1");
        assert!(ask("/healthz", &[]).is_none());
    }
}
