//! A headless Chromium, driven by its WebDriver: real clicks and keys on a real page.
//!
//! It knows no page. What would surprise: every browser has a driver and a profile of its own, and goes with it.

use crate::node::free_port;
use rabbit_reduce_runtime::process::clock;
use reqwest::Client;
use serde_json::{Value, json};
use std::fmt::Display;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a fact may take to come true; only a failing test waits that long.
const BOUND: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// As root it takes being told to trust the page; the rest keeps it from asking its maker's servers.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];
/// What WebDriver calls an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// See the module.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    session: String,
    client: Client,
    _profile: TempDir,
}

/// A driver that is ready, and where it is. It leaves at once where its port was taken since it was found free.
async fn driver(client: &Client) -> (Child, String) {
    let began = clock::instant();
    loop {
        let port = free_port();
        let address = format!("http://127.0.0.1:{port}");
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Of its own, so that the browser goes with it.
        command.process_group(0);
        let mut driver = command.spawn().expect("these tests need Chromium and its driver: install chromium-driver");
        while driver.try_wait().expect("it is our child").is_none() {
            let answer = client.get(format!("{address}/status")).send().await;
            let ready = match answer {
                Ok(answer) => answer.text().await.is_ok_and(|text| text.contains("\"ready\":true")),
                Err(_) => false,
            };
            if ready {
                return (driver, address);
            }
            assert!(began.elapsed() < BOUND, "no driver is ready within {BOUND:?}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Browser {
    /// Starts one, whose window has this size.
    ///
    /// # Panics
    /// If there is no Chromium.
    pub async fn start(width: u32, height: u32) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let profile = TempDir::with_prefix("rabbit-browser-").expect("there is room for temporary files");
        let client = Client::builder().no_proxy().timeout(BOUND).build().expect("a client needs nothing");
        let (driver, address) = driver(&client).await;
        let session = format!("{address}/session");
        let mut browser = Self { driver, session, client, _profile: profile };
        let mut arguments: Vec<String> = ARGUMENTS.iter().map(|argument| (*argument).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", browser._profile.path().display()));
        arguments.push(format!("--window-size={width},{height}"));
        let options = json!({ "args": arguments });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let made = browser.post("", json!({ "capabilities": { "alwaysMatch": wanted } })).await;
        let id = made["sessionId"].as_str().expect("a session has an id");
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    async fn try_post(&self, path: &str, body: Value) -> Result<Value, String> {
        let request = self.client.post(format!("{}{path}", self.session));
        let answer = request.body(body.to_string()).send().await.expect("the driver answers");
        let text = answer.text().await.expect("the answer comes whole");
        let mut value: Value = serde_json::from_str(&text).expect("the driver speaks JSON");
        let value = value["value"].take();
        match value["error"].as_str() {
            Some(_) => Err(value["message"].to_string()),
            None => Ok(value),
        }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.try_post(path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Opens a page.
    pub async fn open(&self, url: impl Display) {
        self.post("/url", json!({ "url": url.to_string() })).await;
    }

    /// What a script returns.
    pub async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// A command of the browser's own protocol for developers.
    pub async fn emulate(&self, command: &str, how: Value) {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": how })).await;
    }

    /// Waits until a script returns something true; what that is.
    ///
    /// # Panics
    /// If it does not within the bound.
    pub async fn until(&self, script: &str) -> Value {
        let script = format!("return {script}");
        let looking = async {
            loop {
                let found = self.run(&script).await;
                if found != Value::Null && found != json!(false) && found != json!(0) {
                    return found;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(BOUND, looking).await {
            Ok(found) => found,
            Err(_) => {
                let page = self.run("return document.body.innerText").await;
                panic!("never true: {script}; the page shows {page}; the browser says {:?}", self.complaints().await)
            }
        }
    }

    async fn element(&self, selector: &str) -> String {
        self.until(&format!("document.querySelector({selector:?}) !== null")).await;
        let found = self.post("/element", json!({ "using": "css selector", "value": selector })).await;
        format!("/element/{}", found[ELEMENT].as_str().expect("it was found"))
    }

    /// Clicks on an element, once it can be clicked on.
    ///
    /// # Panics
    /// If it never can.
    pub async fn click(&self, selector: &str) {
        for _ in 0..100 {
            let element = self.element(selector).await;
            match self.try_post(&format!("{element}/click"), json!({})).await {
                Ok(_) => return,
                // It was just being drawn.
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
        panic!("{selector} cannot be clicked on");
    }

    /// Types into an element.
    pub async fn enter(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(&format!("{element}/value"), json!({ "text": text })).await;
    }

    /// Presses a key, wherever the focus is.
    pub async fn press(&self, key: char) {
        let actions = [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        self.post("/actions", json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] })).await;
    }

    /// What the browser has complained of since it was asked last: failed requests, errors, what the policy forbids.
    pub async fn complaints(&self) -> Vec<String> {
        let told = self.post("/se/log", json!({ "type": "browser" })).await;
        told.as_array().into_iter().flatten().map(|entry| entry["message"].to_string()).collect()
    }

    /// A picture of the whole page, as PNG in base64.
    pub async fn picture(&self) -> String {
        let taken = json!({ "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true } });
        self.post("/goog/cdp/execute", taken).await["data"].as_str().expect("a picture has bytes").to_owned()
    }

    /// Ends it.
    pub async fn quit(self) {
        // Its driver ends what is left.
        drop(self.client.delete(&self.session).send().await);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser is of the same group, and does not end by itself when its driver is killed.
        let group = format!("-{}", self.driver.id());
        drop(Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status());
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
