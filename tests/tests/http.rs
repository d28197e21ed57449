//! What aggregators and workers serve over HTTP, through real processes and a real broker.
//!
//! AMQP_URL says where the broker is. What would surprise: the answers are compared with what `producer` prints of the same.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Running, until};
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::site::Site;
use rcgen::generate_simple_self_signed;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An aggregator with a page, and a worker.
fn served(namespace: &Namespace) -> (Running, Running, Site) {
    let args = ["--store", "store", "--threads", "2", "--http", "127.0.0.1:0"];
    let mut aggregator = Running::start(&mut namespace.command("aggregator", &args));
    let site = Site::of(&mut aggregator);
    (aggregator, namespace.worker(&[]), site)
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The id of the newest job.
async fn newest(site: &Site) -> String {
    site.get("/api/v1/jobs").await.json(200)["jobs"][0]["job"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_producer_tells_the_api_tells() {
    let namespace = Namespace::default();
    let (_aggregator, _worker, site) = served(&namespace);
    namespace.room.write("in.txt", "b a b\nc \u{1}\"<script> b a\n");
    assert_eq!(namespace.ask(&["push", "--quiet", "in.txt"]).code, Some(0));
    assert_eq!(namespace.ask(&["push", "--quiet", "--job", "grep", "--pattern", "a", "in.txt"]).code, Some(0));
    let jobs = site.get("/api/v1/jobs?limit=1").await.json(200);
    assert_eq!((jobs["jobs"].as_array().unwrap().len(), &jobs["more"]), (1, &true.into()));
    let grep = jobs["jobs"][0]["job"].as_str().unwrap();
    let older = site.get(&format!("/api/v1/jobs?before={grep}")).await.json(200);
    let job = older["jobs"][0]["job"].as_str().unwrap();
    let mut told = parsed(&namespace.ask(&["status", job, "--format", "json"]).text(0));
    told.as_object_mut().unwrap().remove("steps");
    assert_eq!(site.get(&format!("/api/v1/jobs/{job}")).await.json(200), told);
    // Pages, in either order, and what is searched for.
    let page = async |query: &str| site.get(&format!("/api/v1/jobs/{job}/result?{query}")).await.json(200);
    let all = page("").await;
    let hostile = "\u{1}\"<script>";
    assert_eq!(all["rows"], json!([[hostile, 1], ["a", 2], ["b", 3], ["c", 1]]));
    assert_eq!((&all["columns"], &all["more"]), (&json!(["key", "count"]), &false.into()));
    let second = page("offset=1&limit=2").await;
    assert_eq!((&second["rows"], &second["more"]), (&json!([["a", 2], ["b", 3]]), &true.into()));
    assert_eq!(page("sort=value&limit=2").await["rows"], json!([["b", 3], ["a", 2]]));
    assert_eq!(page("search=script").await["rows"], json!([[hostile, 1]]));
    assert_eq!(page("prefix=b&sort=value").await["rows"], json!([["b", 3]]));
    assert_eq!(page("offset=9").await["rows"], json!([]));
    let grepped = site.get(&format!("/api/v1/jobs/{grep}/result?limit=1")).await.json(200);
    assert_eq!(grepped["rows"], json!([["in.txt", 0, "b a b"]]));
    let unranked = site.get(&format!("/api/v1/jobs/{grep}/result?sort=value")).await.json(400);
    assert!(unranked["error"].as_str().unwrap().contains("grep"), "{unranked}");
    // Files, and who has them already.
    for format in ["tsv", "csv", "json", "ndjson"] {
        let path = format!("/api/v1/jobs/{job}/result.{format}");
        let file = site.get(&path).await;
        let printed = namespace.ask(&["results", job, "--format", format]).stdout;
        assert_eq!((file.status, file.text.as_bytes()), (200, &*printed), "{format}");
        let request = site.request(Method::GET, &path).header("if-none-match", &file.headers["etag"]);
        assert_eq!(Site::send(request).await.status, 304);
    }
    let top = site.get(&format!("/api/v1/jobs/{job}/top?limit=1")).await.json(200);
    assert_eq!(top, json!({ "rows": [["b", 3]], "counted_chunks": 1, "chunks": 1, "exact": true }));
    for (path, status) in [("jobs/nonsense", 404), ("jobs/nonsense/result", 404), ("nonsense", 404)] {
        assert_eq!(site.get(&format!("/api/v1/{path}")).await.status, status, "{path}");
    }
    assert_eq!(site.get(&format!("/api/v1/jobs/{grep}/top")).await.status, 409);
}

#[tokio::test]
async fn the_description_of_the_api_names_what_there_is() {
    let namespace = Namespace::default();
    let (_aggregator, _worker, site) = served(&namespace);
    namespace.room.write("in.txt", "a\n");
    assert_eq!(namespace.ask(&["push", "--quiet", "in.txt"]).code, Some(0));
    let job = newest(&site).await;
    let described = site.get("/api/v1/openapi.json").await.json(200);
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (path, methods) in paths {
        let at = format!("/api/v1{path}").replace("{job}", &job).replace("{format}", "tsv");
        for method in methods.as_object().unwrap().keys() {
            let status = match method.as_str() {
                // It would not end.
                "get" if path == "/events" => continue,
                "get" => site.get(&at).await.status,
                // Without the header nothing is done.
                _ => Site::send(site.request(Method::POST, &at)).await.status,
            };
            assert_eq!(status, if method == "get" { 200 } else { 403 }, "{method} {path}");
        }
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/http.md")).unwrap();
    for path in paths.keys() {
        let told = path.replace("{job}", "ID").replace("{format}", "tsv");
        assert!(page.contains(&told), "docs/http.md does not tell of {told}");
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_in_json() {
    let namespace = Namespace::default();
    let (_aggregator, _worker, site) = served(&namespace);
    let said = async |path: &str, status| site.get(path).await.json(status)["error"].as_str().unwrap().to_owned();
    assert!(said("/api/v1/nothing", 404).await.contains("there is no /api/v1/nothing: see /api/v1/openapi.json"));
    assert!(said("/api/v1/jobs?limit=many", 400).await.contains("limit"));
    assert!(said("/api/v1/jobs/none", 404).await.contains("`none` is no job"));
    let posted = site.post("/api/v1/jobs", "").await.json(405);
    assert!(posted["error"].as_str().unwrap().contains("another method"), "{posted}");
    let id = "01a22959-c3ac-76f0-be1c-782e39730fd9";
    let body = site.post(&format!("/api/v1/jobs/{id}/letters/drop"), "{\"names\":7}").await.json(422);
    assert!(body["error"].as_str().unwrap().contains("names"), "{body}");
}

#[tokio::test]
async fn jobs_are_cancelled_retried_and_removed_by_their_page() {
    let namespace = Namespace::default();
    let (_aggregator, worker, site) = served(&namespace);
    namespace.room.write("sums.txt", "1\nnone\n2\n");
    assert_eq!(namespace.ask(&["push", "--quiet", "--job", "sum", "sums.txt"]).code, Some(3));
    let job = newest(&site).await;
    let letters = site.get(&format!("/api/v1/jobs/{job}/letters")).await.json(200);
    let letter = &letters["letters"][0];
    assert_eq!((&letter["kind"], &letter["state"]), (&"records".into(), &"lost".into()));
    assert_eq!(letter["sources"][0]["name"], "sums.txt");
    let sent = site.post(&format!("/api/v1/jobs/{job}/retry"), "").await.json(200);
    assert_eq!(sent, json!({ "sent": 1, "under_way": 0, "refused": [] }));
    // It is refused again, in a version of its own.
    let version = async || site.get(&format!("/api/v1/jobs/{job}")).await.json(200)["end"]["version"].as_u64();
    while version().await != Some(2) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let names = json!({ "names": [letter["name"]] }).to_string();
    assert_eq!(site.post(&format!("/api/v1/jobs/{job}/letters/drop"), &names).await.json(200), json!({}));
    let letters = site.get(&format!("/api/v1/jobs/{job}/letters")).await.json(200);
    assert!(letters["letters"].as_array().unwrap().iter().all(|left| left["name"] != letter["name"]), "{letters}");
    let names: Vec<&serde_json::Value> =
        letters["letters"].as_array().unwrap().iter().map(|left| &left["name"]).collect();
    let names = json!({ "names": names }).to_string();
    assert_eq!(site.post(&format!("/api/v1/jobs/{job}/letters/drop"), &names).await.json(200), json!({}));
    let gone = site.post(&format!("/api/v1/jobs/{job}/retry"), "").await.json(200);
    assert_eq!((&gone["sent"], gone["refused"].as_array().unwrap().len()), (&0.into(), 1), "{gone}");
    assert!(gone["refused"][0].as_str().unwrap().contains("no letter has its bytes"), "{gone}");
    worker.kill();
    assert_eq!(namespace.ask(&["push", "--quiet", "--detach", "sums.txt"]).code, Some(0));
    let open = newest(&site).await;
    let running = site.post(&format!("/api/v1/jobs/{open}/remove"), "").await.json(409);
    assert!(running["error"].as_str().unwrap().contains("cancel it first"), "{running}");
    let cancelled = site.post(&format!("/api/v1/jobs/{open}/cancel"), "").await.json(200);
    assert_eq!(cancelled["state"], "cancelled");
    let none = site.get(&format!("/api/v1/jobs/{open}/result")).await.json(409);
    assert!(none["error"].as_str().unwrap().contains("no result"), "{none}");
    assert_eq!(site.post(&format!("/api/v1/jobs/{open}/remove"), "").await.json(200), json!({}));
    assert_eq!(site.get(&format!("/api/v1/jobs/{open}")).await.status, 404);
}

#[tokio::test]
async fn the_largest_keys_of_a_job_that_runs_are_told_with_what_they_are_of() {
    let namespace = Namespace::default();
    let (_aggregator, worker, site) = served(&namespace);
    namespace.room.write("in.txt", "a b a\n".repeat(50_000));
    let push = namespace.producer(&["push", "--quiet", "--chunk-size", "1KiB", "in.txt"]);
    let top = loop {
        let jobs = site.get("/api/v1/jobs").await.json(200);
        if let Some(job) = jobs["jobs"][0]["job"].as_str() {
            let top = site.get(&format!("/api/v1/jobs/{job}/top")).await.json(200);
            if top["counted_chunks"].as_u64() > Some(0) {
                break top;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    worker.kill();
    let (a, b) = (top["rows"][0][1].as_u64().unwrap(), top["rows"][1][1].as_u64().unwrap());
    assert_eq!((&top["rows"][0][0], &top["rows"][1][0]), (&"a".into(), &"b".into()));
    assert!(0 < b && b < a && a <= 100_000, "{top}");
    let _worker = namespace.worker(&[]);
    assert_eq!(push.ended().text(0), "a\t100000\nb\t50000\n");
    let job = newest(&site).await;
    let after = loop {
        let top = site.get(&format!("/api/v1/jobs/{job}/top")).await.json(200);
        if top["exact"] == true {
            break top;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(after["rows"], json!([["a", 100_000], ["b", 50_000]]));
}

#[tokio::test]
async fn beyond_loopback_a_token_and_a_certificate_are_demanded() {
    let namespace = Namespace::default();
    let refused = |args: &[&str], said: &[&str]| {
        let args = [&["--store", "store", "--http", "0.0.0.0:0"], args].concat();
        Running::start(&mut namespace.command("aggregator", &args)).ended().refused(2, said);
        Running::start(&mut namespace.command("worker", &args[2..])).ended().refused(2, said);
    };
    refused(&[], &["--http-token-file", "--http-cert"]);
    namespace.room.write("token", "s3cret\n");
    namespace.room.write("empty", "\n");
    refused(&["--http-token-file", "token"], &["--http-cert"]);
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    namespace.room.write("cert.pem", made.cert.pem());
    namespace.room.write("key.pem", made.signing_key.serialize_pem());
    let identity = ["--http-cert", "cert.pem", "--http-key", "key.pem"];
    refused(&identity, &["--http-token-file"]);
    refused(&[&identity[..], &["--http-token-file", "nowhere"]].concat(), &["--http-token-file", "nowhere"]);
    refused(&[&identity[..], &["--http-token-file", "empty"]].concat(), &["holds no token"]);
    let wrong = ["--http-cert", "token", "--http-key", "key.pem", "--http-token-file", "token"];
    refused(&wrong, &["--http-cert and --http-key"]);
    let args = [&["--store", "store", "--http", "0.0.0.0:0", "--http-token-file", "token"], &identity[..]].concat();
    let mut aggregator = Running::start(&mut namespace.command("aggregator", &args));
    let mut site = Site::trusting(&mut aggregator, Some(made.cert.pem().as_bytes()));
    site.url = site.url.replace("0.0.0.0", "localhost");
    for path in ["/", "/api/v1/jobs", "/metrics"] {
        let unknown = site.get(path).await;
        assert_eq!((unknown.status, &unknown.headers["www-authenticate"].to_str().unwrap()[..5]), (401, "Basic"));
        let wrong = Site::send(site.request(Method::GET, path).bearer_auth("s3cre")).await;
        assert_eq!(wrong.status, 401);
        let known = Site::send(site.request(Method::GET, path).basic_auth("anyone", Some("s3cret"))).await;
        assert_eq!(known.status, 200, "{path}");
    }
    let health = site.get("/healthz").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.headers["connection"], "close", "who is not let in keeps no place");
    assert!(!aggregator.said().contains("s3cret"));
    seen::fault("a stranger at the page", "nothing but health without the token; not served at all without TLS");
}

#[tokio::test]
async fn who_keeps_connections_open_takes_no_more_than_there_is_for_that() {
    let namespace = Namespace::default();
    let (mut aggregator, _worker, site) = served(&namespace);
    let address = site.url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answered = |connection: &mut TcpStream, request: &[u8]| {
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut begin = [0; 12];
        connection.write_all(request).and_then(|()| connection.read_exact(&mut begin)).is_ok().then_some(begin)
    };
    let mut open = Vec::new();
    let refused = (0..1000).find(|_| {
        let mut connection = TcpStream::connect(&address).unwrap();
        let let_in = answered(&mut connection, request).is_some();
        open.push(connection);
        !let_in
    });
    assert_eq!(refused, Some(128), "the one after as many as there are places for");
    // Somebody leaves, and somebody else may come.
    open.truncate(100);
    let mut connection = until("there is a place again", || {
        let mut connection = TcpStream::connect(&address).unwrap();
        answered(&mut connection, request).map(|_| connection)
    });
    assert!(answered(&mut connection, request).is_some());
    // Another version of HTTP, in which connections stay open without a word, is not spoken.
    let mut connection = TcpStream::connect(&address).unwrap();
    let begin = answered(&mut connection, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(begin.is_none_or(|begin| begin.starts_with(b"HTTP/1.1 4")), "{begin:?}");
    assert!(aggregator.lives());
    seen::fault("a stranger opens connections and keeps them", "128 at once, the next is hung up on");
}

#[tokio::test]
async fn on_loopback_pages_of_strangers_reach_nothing() {
    let namespace = Namespace::default();
    let (_aggregator, _worker, site) = served(&namespace);
    let rebound = site.request(Method::GET, "/api/v1/jobs").header("host", "evil.example");
    assert_eq!(Site::send(rebound).await.status, 421);
    let page = site.get("/").await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let forged = site.request(Method::POST, "/api/v1/jobs/x/cancel").header("content-type", "text/plain");
    assert_eq!(Site::send(forged).await.status, 403);
    let foreign = site.request(Method::POST, "/api/v1/jobs/x/cancel").header("x-rabbit-reduce", "1");
    assert_eq!(Site::send(foreign.header("sec-fetch-site", "cross-site")).await.status, 403);
    // Nor does anybody allow them to ask.
    let asked = site.request(Method::OPTIONS, "/api/v1/jobs/x/cancel").header("origin", "http://evil.example");
    let asked = Site::send(asked).await;
    assert!(asked.status >= 400 && !asked.headers.contains_key("access-control-allow-origin"));
    // A swarm is asked to wait, and answered afterwards.
    let mut statuses = Vec::new();
    for _ in 0..300 {
        statuses.push(site.get("/page.css").await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(site.get("/healthz").await.status, 200);
    while site.get("/page.css").await.status != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Whatever loopback address it is, its own name is one.
    let mut other = namespace.worker(&["--http", "127.0.0.2:0"]);
    assert_eq!(Site::of(&mut other).get("/metrics").await.status, 200);
    seen::fault("a stranger's page in a browser", "no name of another, no change without our header, no swarm");
}

/// Reads events until one of this name says this.
async fn event(stream: &mut reqwest::Response, heard: &mut String, name: &str, says: impl Fn(&Value) -> bool) {
    loop {
        while let Some(end) = heard.find("\n\n") {
            let text: String = heard.drain(..end + 2).collect();
            let Some((kind, text)) = text.strip_prefix("event: ").and_then(|text| text.split_once("\ndata: ")) else {
                continue;
            };
            if kind == name && says(&parsed(text.trim())) {
                return;
            }
        }
        let piece = stream.chunk().await.unwrap().expect("events do not end");
        heard.push_str(std::str::from_utf8(&piece).unwrap());
    }
}

#[tokio::test]
async fn events_tell_of_jobs_that_come_end_and_go_and_of_trouble() {
    let mut node = Node::default();
    let namespace = Namespace::at(format!("{}?heartbeat=4", node.url()));
    let (_aggregator, _worker, site) = served(&namespace);
    namespace.room.write("in.txt", "a\n");
    let mut stream = site.request(Method::GET, "/api/v1/events").send().await.unwrap();
    let heard = &mut String::new();
    event(&mut stream, heard, "broker", |told| told["queues"].as_array().is_some_and(|queues| queues.len() > 5)).await;
    assert_eq!(namespace.ask(&["push", "--quiet", "in.txt"]).code, Some(0));
    event(&mut stream, heard, "jobs", |told| told[0]["state"] == "done").await;
    event(&mut stream, heard, "broker", |told| told["workers"][0]["chunks"] == 1).await;
    let job = newest(&site).await;
    assert_eq!(site.post(&format!("/api/v1/jobs/{job}/remove"), "").await.status, 200);
    event(&mut stream, heard, "gone", |told| *told == json!([job])).await;
    node.stop();
    event(&mut stream, heard, "trouble", |told| told["error"].is_string()).await;
    let lost = site.get("/readyz").await;
    assert_eq!((lost.status, site.get("/healthz").await.status), (503, 200), "{}", lost.text);
    assert!(site.get("/metrics").await.text.contains("rabbit_reduce_up 0"));
    node.start_again();
    event(&mut stream, heard, "broker", |told| told["queues"].is_array()).await;
    seen::fault("the broker is away from a page", "the page is told, and told when it is back");
}

#[tokio::test]
async fn figures_are_told_as_prometheus_reads_them() {
    let namespace = Namespace::default();
    let (_aggregator, worker, site) = served(&namespace);
    worker.kill();
    let mut worker = namespace.worker(&["--http", "127.0.0.1:0"]);
    let of_worker = Site::of(&mut worker);
    namespace.room.write("in.txt", "a\n");
    assert_eq!(namespace.ask(&["push", "--quiet", "in.txt"]).code, Some(0));
    let figures = site.get("/metrics").await;
    assert!(figures.headers["content-type"].to_str().unwrap().contains("openmetrics-text"));
    for line in [
        "rabbit_reduce_up 1",
        "rabbit_reduce_jobs{state=\"done\"} 1",
        "rabbit_reduce_queue_consumers{queue=\"map\"} 1",
        "rabbit_reduce_queue_messages{queue=\"map\"} 0",
    ] {
        assert!(figures.text.lines().any(|told| told == line), "no `{line}` in {}", figures.text);
    }
    assert!(figures.text.ends_with("# EOF\n"));
    assert_eq!((of_worker.get("/healthz").await.status, of_worker.get("/readyz").await.status), (200, 200));
    let figures = of_worker.get("/metrics").await.text;
    for line in ["rabbit_reduce_worker_chunks_total 1", "rabbit_reduce_worker_bytes_total 2"] {
        assert!(figures.lines().any(|told| told == line), "no `{line}` in {figures}");
    }
    assert_eq!(of_worker.get("/").await.status, 404);
}
