//! The bucket that tests keep stores in, and gateways of their own that they may kill.
//!
//! It knows what scripts/with-bucket tells. What would surprise: every store has a prefix of its own, and nobody empties the
//! bucket; it goes with its server.

use crate::front::Front;
use crate::processes::until;
use rabbit_reduce_runtime::store::Store;
use rabbit_reduce_runtime::store::bucket::{BucketAddress, BucketStore};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use uuid::Uuid;

/// A variable of scripts/with-bucket.
///
/// # Panics
/// If it is not set.
#[must_use]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "these tests need a bucket, and {name} is not set: run them under scripts/with-bucket, as scripts/test does"
        )
    })
}

/// A place for a store that nobody used before.
#[must_use]
pub fn somewhere() -> BucketAddress {
    format!("{}/{}", variable("TEST_BUCKET"), Uuid::new_v4()).parse().expect("TEST_BUCKET is s3://BUCKET")
}

/// The store itself, to look into.
///
/// # Panics
/// If it cannot be opened.
#[must_use]
pub fn opened(address: &BucketAddress) -> BucketStore {
    BucketStore::open(address, std::env::vars()).expect("the tests' bucket can be opened")
}

/// A front before the bucket's server.
#[must_use]
pub fn front() -> Front {
    Front::of(server(&variable("AWS_ENDPOINT_URL")))
}

fn server(url: &str) -> &str {
    url.strip_prefix("http://").expect("the tests' server needs no encryption")
}

/// All files of a store beneath a folder, by their paths.
///
/// # Panics
/// If the store cannot be read.
#[must_use]
pub fn files(store: &dyn Store, folder: &str) -> Vec<String> {
    let names = store.list(folder).expect("the store can be read");
    let paths = names.into_iter().map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") });
    // A name that is no folder has nothing beneath it; in a bucket that is all there is to see.
    paths.flat_map(|path| if is_folder(store, &path) { files(store, &path) } else { vec![path] }).collect()
}

fn is_folder(store: &dyn Store, path: &str) -> bool {
    store.list(path).is_ok_and(|names| !names.is_empty())
}

/// A gateway to the same buckets, of one test alone.
#[derive(Debug)]
pub struct Gateway {
    settings: String,
    port: u16,
    process: Child,
}

impl Gateway {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// If the bucket's server is not one that scripts/with-bucket started.
    #[must_use]
    pub fn start() -> Self {
        let settings = variable("TEST_GATEWAY_SETTINGS");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let process = run(&settings, port);
        let gateway = Self { settings, port, process };
        gateway.wait();
        gateway
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it; from now on nobody answers there.
    pub fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }

    /// Starts it again, at the same place.
    pub fn revive(&mut self) {
        self.process = run(&self.settings, self.port);
        self.wait();
    }

    fn wait(&self) {
        until("the gateway answers", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }
}

fn run(settings: &str, port: u16) -> Child {
    let frontend = format!("--rgw-frontends=beast endpoint=127.0.0.1:{port} tcp_nodelay=1");
    let mut command = Command::new("radosgw");
    command.args(["-f", "-n", "client.gateway", "-c", settings, &frontend]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("radosgw is installed where scripts/with-bucket started one")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have been killed before.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
