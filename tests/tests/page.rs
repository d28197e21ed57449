//! The page of an aggregator in a real browser: headless Chromium, real processes, a real broker.
//!
//! AMQP_URL says where the broker is. What would surprise: jobs are made by processes, so what the page shows is compared with
//! what they were made of.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_tests::browser::Browser;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Running, words};
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::site::Site;
use serde_json::json;
use uuid::{NoContext, Timestamp, Uuid};

/// A page, and a browser on it.
struct Watched {
    namespace: Namespace,
    aggregator: Running,
    site: Site,
    browser: Browser,
}

impl Watched {
    async fn new() -> Self {
        Self::of(Namespace::default()).await
    }

    async fn of(namespace: Namespace) -> Self {
        let (aggregator, site) = served(&namespace, "127.0.0.1:0");
        let browser = Browser::start(1280, 900).await;
        browser.open(&site.url).await;
        Self { namespace, aggregator, site, browser }
    }

    /// Pushes a file, and opens its job.
    async fn pushes(&self, args: &[&str], code: i32) -> String {
        assert_eq!(self.namespace.ask(&[&["push", "--quiet"], args].concat()).code, Some(code));
        let jobs = self.site.get("/api/v1/jobs?limit=1").await.json(200);
        let job = jobs["jobs"][0]["job"].as_str().unwrap().to_owned();
        self.browser.click(&format!("[data-job='{job}'] a")).await;
        job
    }

    /// Nothing was forbidden, and nothing failed but what these words are in.
    async fn ends(self, expected: &[&str]) {
        let complaints = self.browser.complaints().await;
        let odd: Vec<_> = complaints.iter().filter(|said| !expected.iter().any(|word| said.contains(word))).collect();
        assert!(odd.is_empty(), "{odd:?}");
        self.browser.quit().await;
    }
}

fn served(namespace: &Namespace, address: &str) -> (Running, Site) {
    let args = ["--store", "store", "--threads", "2", "--http", address];
    let mut aggregator = Running::start(&mut namespace.command("aggregator", &args));
    let site = Site::of(&mut aggregator);
    (aggregator, site)
}

const STATE: &str = "document.querySelector('h1 ~ [data-state], [data-state]')?.dataset.state";

#[tokio::test]
async fn a_job_appears_moves_by_itself_and_shows_its_result() {
    let watched = Watched::new().await;
    let Watched { namespace, browser, .. } = &watched;
    browser.until("document.body.innerText.includes('There is no job yet')").await;
    // Nobody maps it yet: it stands still, and then it moves.
    namespace.room.write("in.txt", words(2000));
    assert_eq!(namespace.ask(&["push", "--quiet", "--detach", "--chunk-size", "8KiB", "in.txt"]).code, Some(0));
    browser.until("document.querySelector('[data-job] [data-state]')?.dataset.state === 'counting'").await;
    let _worker = namespace.worker(&[]);
    browser.until("document.querySelector('[data-job] [data-state]')?.dataset.state === 'done'").await;
    browser.click("[data-job] a").await;
    browser.until(&format!("{STATE} === 'done'")).await;
    let rows = "[...document.querySelectorAll('#result tbody tr')].map((row) => row.innerText.split(/\\s+/)[0])";
    browser.until(&format!("{rows}.length === 100")).await;
    browser.click("#next").await;
    browser.until(&format!("({rows})[0] !== 'word0'")).await;
    browser.enter("#search", "word4999").await;
    browser.until(&format!("({rows}).join() === 'word4999'")).await;
    watched.ends(&[]).await;
}

#[tokio::test]
async fn what_is_lost_is_sent_again_and_a_job_is_cancelled_from_the_page() {
    let watched = Watched::new().await;
    let Watched { namespace, browser, .. } = &watched;
    let worker = namespace.worker(&[]);
    namespace.room.write("sums.txt", "1\nnone\n2\n");
    watched.pushes(&["--job", "sum", "sums.txt"], 3).await;
    browser.until(&format!("{STATE} === 'done with losses'")).await;
    browser.until("document.querySelector('#losses').innerText.includes('`none` is no number')").await;
    browser.click("#retry").await;
    browser.click("#confirm").await;
    // It fails again, in a version of its own.
    browser.until("document.querySelector('#progress').innerText.match(/Version\\s+2/) !== null").await;
    worker.kill();
    browser.open(&watched.site.url).await;
    watched.pushes(&["--detach", "sums.txt"], 0).await;
    // By keys alone: the dialog takes the focus, Escape leaves it, and Enter confirms.
    browser.until("document.querySelector('#cancel:not([hidden])') !== null").await;
    browser.run("document.querySelector('#cancel').focus()").await;
    browser.press('\u{e007}').await;
    browser.until("document.querySelector('dialog[open]') !== null").await;
    browser.press('\u{e00c}').await;
    browser.until("document.querySelector('dialog[open]') === null && document.activeElement.id === 'cancel'").await;
    browser.press('\u{e007}').await;
    browser.until("document.querySelector('dialog[open] #confirm') !== null").await;
    browser.run("document.querySelector('#confirm').focus()").await;
    browser.press('\u{e007}').await;
    browser.until(&format!("{STATE} === 'cancelled'")).await;
    watched.ends(&[]).await;
}

#[tokio::test]
async fn hostile_keys_are_text() {
    let watched = Watched::new().await;
    let Watched { namespace, browser, .. } = &watched;
    let _worker = namespace.worker(&[]);
    let hostile =
        "<script>document.title='had'</script>\n<img/src=x/onerror=document.title='had'>\n\u{202e}abc\n\u{1b}[2J\n";
    let name = "<img src=x onerror=document.title='had'>.txt";
    namespace.room.write(name, [hostile.as_bytes(), b"\xff\xfe\n"].concat());
    watched.pushes(&[name], 0).await;
    browser.until("document.querySelectorAll('#result tbody tr').length === 5").await;
    let shown = browser.run("return document.querySelector('#result').innerText").await;
    let shown = shown.as_str().unwrap();
    for text in
        ["<script>document.title='had'</script>", "<img/src=x/onerror=document.title='had'>", "\\u{202e}", "\\xff"]
    {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
    // Names of sources, and reasons.
    namespace.room.write(name, "<b>no</b>\n");
    browser.open(&watched.site.url).await;
    watched.pushes(&["--job", "sum", name], 3).await;
    browser.until("document.querySelector('#losses').innerText.includes('<b>no</b>')").await;
    let had = "document.title.includes('had') || document.querySelector('main script, main img') !== null";
    assert_eq!(browser.run(&format!("return {had}")).await, json!(false));
    seen::fault("keys that are scripts for a page", "shown as text; none ran");
    watched.ends(&[]).await;
}

#[tokio::test]
async fn when_nobody_answers_the_page_says_so_and_recovers() {
    let mut watched = Watched::new().await;
    watched.namespace.room.write("in.txt", "a\n");
    let address = watched.site.url.strip_prefix("http://").unwrap().to_owned();
    watched.browser.until("document.querySelector('#connection').innerText === 'live'").await;
    let (other, _) = served(&watched.namespace, "127.0.0.1:0");
    other.kill();
    std::mem::replace(&mut watched.aggregator, watched.namespace.producer(&["jobs"])).kill();
    watched.browser.until("document.querySelector('#trouble').innerText.includes('does not answer')").await;
    (watched.aggregator, _) = served(&watched.namespace, &address);
    watched.browser.until("document.querySelector('#trouble').innerText === ''").await;
    // What happens from now on is seen again.
    assert_eq!(watched.namespace.ask(&["push", "--quiet", "--detach", "in.txt"]).code, Some(0));
    watched.browser.until("document.querySelector('[data-job]') !== null").await;
    seen::fault("nobody answers a page", "it says so and what to do, and recovers by itself");
    watched.ends(&["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET"]).await;
}

/// Copies of an ended job, under other ids.
fn multiply(namespace: &Namespace, jobs: u64) {
    let store = namespace.room.path("store/jobs");
    let one = std::fs::read_dir(&store).unwrap().next().unwrap().unwrap();
    let id = one.file_name().into_string().unwrap();
    let read = |name: &str| std::fs::read_to_string(one.path().join(name)).unwrap();
    let (spec, seal, end) = (read("spec.json"), read("seal.json"), read("end/000001"));
    for number in 0..jobs {
        let copy = Uuid::new_v7(Timestamp::from_unix(NoContext, 1_700_000_000 + number, 0)).to_string();
        let folder = store.join(&copy);
        std::fs::create_dir_all(folder.join("end")).unwrap();
        std::fs::write(folder.join("spec.json"), spec.replace(&id, &copy)).unwrap();
        std::fs::write(folder.join("seal.json"), &seal).unwrap();
        std::fs::write(folder.join("end/000001"), &end).unwrap();
    }
}

#[tokio::test]
async fn ten_thousand_jobs_are_shown_a_hundred_at_a_time() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "a\n");
    let (aggregator, worker) = (namespace.aggregator(), namespace.worker(&[]));
    assert_eq!(namespace.ask(&["push", "--quiet", "in.txt"]).code, Some(0));
    drop((aggregator, worker));
    multiply(&namespace, 9_999);
    let watched = Watched::of(namespace).await;
    let count = "document.querySelectorAll('[data-job]').length";
    watched.browser.until(&format!("{count} === 100")).await;
    for shown in [200, 300] {
        watched.browser.click("#more").await;
        watched.browser.until(&format!("{count} === {shown}")).await;
    }
    watched.ends(&[]).await;
}

#[tokio::test]
async fn a_phone_and_the_dark_are_no_trouble() {
    let watched = Watched::new().await;
    let Watched { namespace, browser, .. } = &watched;
    let _worker = namespace.worker(&[]);
    let phone = json!({ "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": true });
    browser.emulate("Emulation.setDeviceMetricsOverride", phone).await;
    namespace.room.write("in.txt", format!("{} b\n", "a".repeat(300)));
    let fits = "document.documentElement.scrollWidth <= window.innerWidth";
    watched.pushes(&["in.txt"], 0).await;
    browser.until("document.querySelectorAll('#result tbody tr').length === 2").await;
    assert_eq!(browser.run(&format!("return {fits}")).await, json!(true), "the job's view is too wide");
    let background = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.run(background).await;
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.emulate("Emulation.setEmulatedMedia", dark).await;
    assert_ne!(browser.run(background).await, light);
    browser.open(format!("{}/#/broker", watched.site.url)).await;
    browser.until("document.querySelector('#queues').innerText.includes('map')").await;
    browser.until("document.querySelector('#workers tbody tr') !== null").await;
    assert_eq!(browser.run(&format!("return {fits}")).await, json!(true), "the broker's view is too wide");
    watched.ends(&[]).await;
}

/// The pictures of the README.
#[tokio::test]
#[ignore = "writes docs/images: scripts/screenshots"]
async fn pictures() {
    let folder = std::env::var("PICTURES").expect("PICTURES names the folder");
    let input = std::env::var("PICTURES_OF").expect("PICTURES_OF names a text");
    let watched = Watched::new().await;
    let Watched { namespace, browser, .. } = &watched;
    let _workers = [namespace.worker(&[]), namespace.worker(&[])];
    for args in [
        &["--job", "index", &*input][..],
        &["--job", "letter-count", &input],
        &["--lowercase", "--tokens", "words", &input],
    ] {
        assert_eq!(namespace.ask(&[&["push", "--quiet"], args].concat()).code, Some(0));
    }
    browser.until("document.querySelectorAll('[data-job]').length === 3").await;
    let take = async |name: &str| {
        std::fs::write(format!("{folder}/{name}.png.base64"), browser.picture().await).unwrap();
    };
    take("jobs").await;
    browser.click("[data-job] a").await;
    browser.until("document.querySelectorAll('#result tbody tr').length === 100").await;
    take("job").await;
    watched.ends(&[]).await;
}
