//! The files of the page, which are part of the program.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// How long a browser may keep a file without asking.
const FRESH: &str = "max-age=60";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $name:literal $kind:ident,)*) => {
        /// Path, type, and what is there.
        const FILES: &[(&str, &str, &str)] = &[$(($path, $kind, include_str!(concat!("page/", $name))),)*];
    };
}

files! {
    "/" "index.html" HTML,
    "/page.css" "page.css" STYLE,
    "/favicon.svg" "favicon.svg" IMAGE,
    "/page.js" "page.js" SCRIPT,
    "/api.js" "api.js" SCRIPT,
    "/broker.js" "broker.js" SCRIPT,
    "/charts.js" "charts.js" SCRIPT,
    "/elements.js" "elements.js" SCRIPT,
    "/job.js" "job.js" SCRIPT,
    "/jobs.js" "jobs.js" SCRIPT,
    "/letters.js" "letters.js" SCRIPT,
    "/result.js" "result.js" SCRIPT,
    "/shown.js" "shown.js" SCRIPT,
    "/standing.js" "standing.js" SCRIPT,
    "/top.js" "top.js" SCRIPT,
}

pub(super) fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, (path, kind, text)| {
        let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, FRESH)];
        router.route(path, get(async move || (headers, *text)))
    })
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}
