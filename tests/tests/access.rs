//! Who may come to a broker and how: over TLS, known by a password out of a file or by a certificate, and nothing secret in any output.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use deadpool_lapin::lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use deadpool_lapin::lapin::types::{FieldTable, ShortString};
use deadpool_lapin::lapin::{BasicProperties, Connection, ConnectionProperties};
use rabbit_reduce_core::permissions::Role;
use rabbit_reduce_core::topology::{Topology, queue};
use rabbit_reduce_tests::guests::guest;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::{Node, free_port};
use rabbit_reduce_tests::processes::{Outcome, Room, Running, until};
use rabbit_reduce_tests::seen;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Who vouches for others, and a folder for what it makes.
struct Authority {
    room: Room,
    issuer: Issuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        let room = Room::default();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of one's own");
        let key = KeyPair::generate().unwrap();
        room.write("ca.pem", params.self_signed(&key).unwrap().pem());
        Self { room, issuer: Issuer::new(params, key) }
    }
}

impl Authority {
    /// Makes a certificate and its key, for a host or a user of this name.
    fn vouches_for(&self, name: &str) -> [PathBuf; 2] {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let written = |kind: &str, text: String| self.room.write(&format!("{name}-{kind}.pem"), text);
        [written("certificate", certificate.pem()), written("key", key.serialize_pem())]
    }

    fn certificate(&self) -> PathBuf {
        self.room.path("ca.pem")
    }
}

/// A broker at `localhost`, its users `carol` by certificate and `ann` by password.
struct Guarded {
    authority: Authority,
    node: Node,
    port: u16,
}

const FIRST: &str = "s3cret-1 of/ann:s";
const SECOND: &str = "s3cret-2";

impl Guarded {
    /// Whether whoever connects must have a certificate.
    fn new(certificates: bool) -> Self {
        let authority = Authority::default();
        let [certificate, key] = authority.vouches_for("localhost");
        let port = free_port();
        let settings = format!(
            "listeners.ssl.1 = 127.0.0.1:{port}
             ssl_options.cacertfile = {}
             ssl_options.certfile = {}
             ssl_options.keyfile = {}
             ssl_options.verify = verify_peer
             ssl_options.fail_if_no_peer_cert = {certificates}
             ssl_cert_login_from = common_name
             auth_mechanisms.1 = PLAIN
             auth_mechanisms.2 = EXTERNAL",
            authority.certificate().display(),
            certificate.display(),
            key.display()
        );
        let lines: Vec<&str> = settings.lines().map(str::trim).collect();
        let node = Node::with_plugins(&lines.join("\n"), "rabbitmq_auth_mechanism_ssl");
        node.control(&["add_user", "ann", FIRST]);
        node.control(&["add_user", "carol", "never used"]);
        for user in ["ann", "carol"] {
            node.control(&["set_permissions", user, "^test-.*", "^test-.*", "^test-.*"]);
        }
        Self { authority, node, port }
    }

    fn url(&self, user: &str, host: &str, query: &str) -> String {
        format!("amqps://{user}{host}:{}/%2f?{query}", self.port)
    }

    /// A namespace of `carol`, whom a certificate lets in.
    fn of_carol(&self) -> Namespace {
        let mut namespace = Namespace::at(self.url("", "localhost", "auth_mechanism=external"));
        let [certificate, key] = self.authority.vouches_for("carol");
        namespace.settings.insert("RABBIT_REDUCE_BROKER_CA", self.authority.certificate().display().to_string());
        namespace.settings.insert("RABBIT_REDUCE_BROKER_CERT", certificate.display().to_string());
        namespace.settings.insert("RABBIT_REDUCE_BROKER_KEY", key.display().to_string());
        namespace
    }
}

#[test]
fn a_job_runs_over_tls_by_certificates_alone_and_whoever_lacks_one_is_told_what() {
    let broker = Guarded::new(true);
    let mut namespace = broker.of_carol();
    let expected = namespace.input(2000);
    let mut roles = [namespace.aggregator(), namespace.worker(&[])];
    let push = namespace.ask(&["push", "--chunk-size", "8KiB", "--quiet", "in.txt"]);
    assert_eq!(push.text(0), expected);
    assert!(roles.iter_mut().all(Running::lives));
    // Without the authority, with another broker's, without a certificate, by another name, and where nobody speaks TLS.
    let stranger = Authority::default();
    let [strange, strange_key] = stranger.vouches_for("carol");
    let settings = namespace.settings.clone();
    let refused = |change: &[(&'static str, Option<String>)], url: Option<String>, code: i32, words: &[&str]| {
        let mut namespace = broker.of_carol();
        namespace.settings.clone_from(&settings);
        for (name, value) in change {
            match value {
                Some(value) => drop(namespace.settings.insert(name, value.clone())),
                None => drop(namespace.settings.remove(name)),
            }
        }
        if let Some(url) = url {
            namespace.reach_by(url);
        }
        namespace.ask(&["jobs"]).refused(code, words);
        namespace.reach_by(broker.node.url());
        namespace.settings.clear();
    };
    let text = |path: &PathBuf| Some(path.display().to_string());
    let external = "auth_mechanism=external";
    refused(&[("RABBIT_REDUCE_BROKER_CA", None)], None, 4, &["invalid peer certificate", "--broker-ca"]);
    let other = text(&stranger.certificate());
    refused(&[("RABBIT_REDUCE_BROKER_CA", other)], None, 4, &["invalid peer certificate", "--broker-ca"]);
    let none = [("RABBIT_REDUCE_BROKER_CERT", None), ("RABBIT_REDUCE_BROKER_KEY", None)];
    refused(&none, None, 4, &["--broker-cert"]);
    let strangers = [("RABBIT_REDUCE_BROKER_CERT", text(&strange)), ("RABBIT_REDUCE_BROKER_KEY", text(&strange_key))];
    refused(&strangers, None, 4, &["it may not accept our certificate"]);
    refused(&[], Some(broker.url("", "127.0.0.1", external)), 4, &["invalid peer certificate"]);
    let plain = broker.node.url().replace("amqp:", "amqps:");
    refused(&[], Some(plain), 4, &["say amqp:// in place of amqps://"]);
    refused(&[("RABBIT_REDUCE_BROKER_KEY", None)], None, 2, &["--broker-key"]);
    refused(
        &[],
        Some(broker.node.url()),
        2,
        &["--broker-ca", "are for a broker at amqps://", "AMQP_URL", "leave them out"],
    );
    let nowhere = Some("nowhere.pem".to_owned());
    refused(&[("RABBIT_REDUCE_BROKER_CA", nowhere)], None, 2, &["nowhere.pem cannot be read"]);
    seen::fault("certificates that do not fit", "each is refused with the flag that helps");
    // So that it is torn down.
    namespace.settings = settings;
}

#[test]
fn a_password_changes_in_the_middle_of_a_job_and_nobody_starts_again() {
    let broker = Guarded::new(false);
    let mut namespace = Namespace::at(broker.url("ann@", "localhost", "heartbeat=4"));
    let file = namespace.room.write("password", format!("{FIRST}\n"));
    namespace.settings.insert("RABBIT_REDUCE_BROKER_PASSWORD_FILE", file.display().to_string());
    namespace.settings.insert("RABBIT_REDUCE_BROKER_CA", broker.authority.certificate().display().to_string());
    let expected = namespace.input(2000);
    let mut aggregator = namespace.aggregator();
    let push = namespace.producer(&["push", "--chunk-size", "8KiB", "--quiet", "in.txt"]);
    broker.node.control(&["change_password", "ann", SECOND]);
    broker.node.control(&["close_all_connections", "the password has changed"]);
    // The file still has the one before.
    aggregator.says("Login was refused");
    namespace.room.write("password", SECOND);
    let mut worker = namespace.worker(&[]);
    assert_eq!(push.ended().text(0), expected);
    assert!(aggregator.lives() && worker.lives());
    seen::fault("a password changes", "whoever was connected connects anew with the new one, answer exact");
}

#[test]
fn a_certificate_changes_in_the_middle_of_a_job_and_nobody_starts_again() {
    let broker = Guarded::new(true);
    let namespace = broker.of_carol();
    let expected = namespace.input(2000);
    let mut aggregator = namespace.aggregator();
    let push = namespace.producer(&["push", "--chunk-size", "8KiB", "--quiet", "in.txt"]);
    // Who had the old one is nobody any more.
    let [certificate, key] = broker.authority.vouches_for("dora");
    broker.node.control(&["add_user", "dora", "never used"]);
    broker.node.control(&["set_permissions", "dora", "^test-.*", "^test-.*", "^test-.*"]);
    broker.node.control(&["delete_user", "carol"]);
    broker.node.control(&["close_all_connections", "the certificate has changed"]);
    aggregator.says("using authentication mechanism EXTERNAL");
    for (new, variable) in [(certificate, "RABBIT_REDUCE_BROKER_CERT"), (key, "RABBIT_REDUCE_BROKER_KEY")] {
        std::fs::copy(new, &namespace.settings[variable]).unwrap();
    }
    let mut worker = namespace.worker(&[]);
    assert_eq!(push.ended().text(0), expected);
    assert!(aggregator.lives() && worker.lives());
    seen::fault("a certificate changes", "whoever was connected connects anew with the new one, answer exact");
}

/// The one block of the page on several machines that says this.
fn block(saying: &str) -> &'static str {
    let page = include_str!("../../docs/machines.md");
    let mut blocks = page.split("```").skip(1).step_by(2).filter(|block| block.contains(saying));
    let found = blocks.next().unwrap_or_else(|| panic!("no block says {saying}"));
    assert!(blocks.next().is_none(), "several blocks say {saying}");
    found
}

/// An authority and the broker's certificate, made as the page does it.
fn as_on_the_page() -> Room {
    let room = Room::default();
    for line in block("openssl req").lines().filter(|line| line.starts_with("openssl ")) {
        let mut shell = room.command_of(Path::new("sh"));
        let made = shell.args(["-ec", &line.replace("broker.lan", "localhost")]).output().unwrap();
        assert!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    }
    // The broker of a test may be another user's.
    std::fs::set_permissions(room.path("broker-key.pem"), Permissions::from_mode(0o644)).unwrap();
    room
}

#[test]
fn a_broker_as_the_page_sets_it_up_is_used_and_another_authority_vouches_for_it_in_the_middle_of_a_job() {
    let (before, after) = (as_on_the_page(), as_on_the_page());
    let (port, management) = (free_port(), free_port());
    let settings = block("listeners.ssl.default")
        .replace("ini\nlisteners.tcp.1 = 127.0.0.1:5672\n", "")
        .replace("listeners.ssl.default = 5671", &format!("listeners.ssl.1 = 127.0.0.1:{port}"))
        .replace("/etc/rabbitmq", &before.path("").display().to_string());
    let node = Node::with_plugins(&format!("{settings}management.tcp.port = {management}"), "rabbitmq_management");
    node.control(&["add_user", "ann", FIRST]);
    node.control(&["set_permissions", "ann", "^test-.*", "^test-.*", "^test-.*"]);
    let mut namespace = Namespace::at(format!("amqps://ann@localhost:{port}/%2f?heartbeat=4"));
    let [old, new] = [&before, &after].map(|room| std::fs::read_to_string(room.path("ca.pem")).unwrap());
    let password = namespace.room.write("password", FIRST);
    let (trusted, outdated) = (namespace.room.write("ca.pem", &old), namespace.room.write("old.pem", &old));
    namespace.settings.insert("RABBIT_REDUCE_BROKER_PASSWORD_FILE", password.display().to_string());
    namespace.settings.insert("RABBIT_REDUCE_BROKER_CA", trusted.display().to_string());
    let expected = namespace.input(2000);
    let mut aggregator = namespace.aggregator();
    let push = namespace.producer(&["push", "--chunk-size", "8KiB", "--quiet", "in.txt"]);
    namespace.room.write("ca.pem", format!("{old}{new}"));
    for file in ["ca.pem", "broker.pem", "broker-key.pem"] {
        std::fs::copy(after.path(file), before.path(file)).unwrap();
    }
    node.control(&["eval", "ssl:clear_pem_cache()."]);
    node.control(&["close_all_connections", "the certificate has changed"]);
    namespace.room.write("ca.pem", &new);
    let mut worker = namespace.worker(&[]);
    assert_eq!(push.ended().text(0), expected);
    assert!(aggregator.lives() && worker.lives());
    let mut asks = namespace.command("producer", &["jobs"]);
    let refused = Running::start(asks.env("RABBIT_REDUCE_BROKER_CA", outdated)).ended();
    refused.refused(4, &["invalid peer certificate", "--broker-ca"]);
    seen::fault("another authority vouches for the broker", "who trusts both goes on, answer exact");
}

/// A broker, and a namespace on it that was set up for a user for each role.
struct Divided {
    /// Goes first: it is torn down at the node.
    namespace: Namespace,
    node: Node,
}

impl Default for Divided {
    fn default() -> Self {
        let port = free_port();
        let settings = format!("management.tcp.port = {port}\nmanagement.tcp.ip = 127.0.0.1");
        let node = Node::with_plugins(&settings, "rabbitmq_management");
        let namespace = Namespace::at(node.url());
        std::fs::create_dir(namespace.room.path("passwords")).unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let set_up = ["set-up", "--management-url", &url, "--passwords", "passwords"];
        let shown = namespace.ask(&set_up).text(0);
        assert_eq!(namespace.ask(&set_up).text(0), shown, "it may be done again");
        let wrong = format!("{url}/nowhere");
        namespace
            .ask(&["set-up", "--management-url", &wrong, "--passwords", "passwords"])
            .refused(4, &["RabbitMQ refuses to make user"]);
        let closed = ["set-up", "--management-url", "http://127.0.0.1:1", "--passwords", "passwords"];
        namespace.ask(&closed).refused(4, &["rabbitmq_management"]);
        Self { namespace, node }
    }
}

impl Divided {
    fn url(&self, role: Role, password: &str) -> String {
        format!("amqp://{}-{}{password}@{}/%2f", self.namespace.name, role.name(), self.node.address())
    }

    /// A binary as the user of a role.
    fn start(&self, binary: &str, role: Role, args: &[&str]) -> Running {
        let password = self.namespace.room.path("passwords").join(role.name());
        let mut command = self.namespace.command(binary, args);
        command.env("AMQP_URL", self.url(role, "")).env("RABBIT_REDUCE_BROKER_PASSWORD_FILE", password);
        Running::start(&mut command)
    }

    fn ask(&self, args: &[&str]) -> Outcome {
        self.start("producer", Role::Producer, args).ended()
    }

    /// Which queues a role may take from, to which exchanges it may publish, and of which it may have copies, by their names in
    /// the namespace.
    async fn open_to(&self, role: Role) -> [Vec<String>; 4] {
        let namespace = &self.namespace.name;
        let password = std::fs::read_to_string(self.namespace.room.path("passwords").join(role.name())).unwrap();
        let url = self.url(role, &format!(":{}", password.trim()));
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let topology = Topology::new(namespace, 1);
        let queues = topology.queues.iter().map(|queue| queue.name.as_str()).chain([queue::STORE]);
        let [mut read, mut written, mut copied, mut changed] = [const { Vec::new() }; 4];
        for queue in queues.clone() {
            // What is refused closes the channel.
            let channel = connection.create_channel().await.unwrap();
            let name = format!("{namespace}.{queue}");
            if channel.basic_get(name.into(), BasicGetOptions::default()).await.is_ok() {
                read.push(queue.to_owned());
            }
        }
        let ours = ["", ".answers", ".news"].map(|name| format!("{namespace}{name}"));
        for exchange in ours.into_iter().chain([String::new(), "amq.fanout".to_owned()]) {
            let name = exchange.replace(namespace.as_str(), "NS");
            let channel = connection.create_channel().await.unwrap();
            channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let sent = channel.basic_publish(exchange.clone().into(), "nobody".into(), options, b"x", properties).await;
            if let Ok(confirm) = sent
                && confirm.await.is_ok()
            {
                written.push(name.clone());
            }
            let channel = connection.create_channel().await.unwrap();
            let mine = format!("{namespace}.private.{}", role.name());
            let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
            channel.queue_declare(mine.clone().into(), exclusive, FieldTable::default()).await.unwrap();
            let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
            if channel.queue_bind(mine.into(), exchange.into(), queue::MAP.into(), options, arguments).await.is_ok() {
                copied.push(name);
            }
        }
        for queue in queues.chain(["new"]) {
            let name: ShortString = format!("{namespace}.{queue}").into();
            let channel = connection.create_channel().await.unwrap();
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            let declared = match queue {
                "new" => channel.queue_declare(name, durable, FieldTable::default()).await.is_ok(),
                _ => channel.queue_delete(name, QueueDeleteOptions::default()).await.is_ok(),
            };
            if declared {
                changed.push(queue.to_owned());
            }
        }
        for exchange in ["", ".answers", ".news"] {
            let channel = connection.create_channel().await.unwrap();
            let name = format!("{namespace}{exchange}");
            if channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.is_ok() {
                changed.push(format!("NS{exchange}"));
            }
        }
        [read, written, copied, changed]
    }
}

#[test]
fn each_role_gets_along_with_what_set_up_gives_it() {
    let broker = Divided::default();
    let namespace = &broker.namespace;
    let aggregator = ["--store", "store", "--threads", "2"];
    let mut aggregator = broker.start("aggregator", Role::Aggregator, &aggregator);
    let worker = broker.start("worker", Role::Worker, &["--threads", "1", "--input-root", "."]);
    let expected = namespace.input(2000);
    assert_eq!(broker.ask(&["push", "--chunk-size", "8KiB", "--quiet", "in.txt"]).text(0), expected);
    // A module is fetched by way of the aggregator, and a record that was refused is sent again.
    let module = guest("word_count.c").display().to_string();
    assert_eq!(broker.ask(&["push", "--program", &module, "--quiet", "in.txt"]).text(0), expected);
    namespace.room.write("sums.txt", "1\nnone\n2\n");
    assert!(broker.ask(&["push", "--job", "sum", "--quiet", "sums.txt"]).text(3).contains("sum\t3\n"));
    assert!(broker.ask(&["dead", "ls"]).text(0).contains("1 record"));
    assert_eq!(broker.ask(&["dead", "retry", "@"]).code, Some(3));
    // What cannot be read just now is tried again, by way of the broker's delays.
    worker.kill();
    let there = namespace.room.write("gone.txt", "a\n");
    let away = namespace.room.path("away.txt");
    assert_eq!(broker.ask(&["push", "--by", "reference", "--quiet", "--detach", "gone.txt"]).code, Some(0));
    std::fs::rename(&there, &away).unwrap();
    let mut worker = broker.start("worker", Role::Worker, &["--threads", "1", "--input-root", "."]);
    worker.says("a task failed and is tried again");
    std::fs::rename(&away, &there).unwrap();
    until("the job is done", || (broker.ask(&["results"]).code == Some(0)).then_some(()));
    assert_eq!(broker.ask(&["results"]).text(0), "a\t1\n");
    assert!(aggregator.lives() && worker.lives());
    // Whoever has the wrong user is told what that lacks.
    let wrong = broker.start("worker", Role::Producer, &[]).ended();
    wrong.refused(4, &["access to queue", "needs read permission", "producer set-up"]);
    let wrong = broker.start("aggregator", Role::Worker, &["--store", "elsewhere"]).ended();
    wrong.refused(4, &["access to queue", "producer set-up"]);
    seen::fault("a role with another's user", "it ends and names the permission that is missing");
}

#[test]
fn whoever_may_have_no_answers_is_told_so_at_once() {
    let broker = Divided::default();
    let mut aggregator = broker.start("aggregator", Role::Aggregator, &["--store", "store"]);
    assert_eq!(broker.ask(&["jobs"]).code, Some(0));
    // As of a namespace that was set up by an earlier release.
    let namespace = &broker.namespace.name;
    let mine = format!("^{namespace}[.]private[.].*$");
    let user = format!("{namespace}-producer");
    broker.node.control(&[
        "set_permissions",
        &user,
        &mine,
        &format!("^({namespace}|{namespace}[.]private[.].*)$"),
        &mine,
    ]);
    broker.ask(&["jobs"]).refused(4, &["read permission", ".answers", "producer set-up"]);
    assert!(aggregator.lives());
}

#[tokio::test]
async fn no_role_may_take_or_publish_what_it_has_no_need_of() {
    let broker = Divided::default();
    let aggregator = broker.start("aggregator", Role::Aggregator, &["--store", "store"]);
    // It binds its store before it answers.
    assert_eq!(broker.ask(&["jobs"]).code, Some(0));
    aggregator.kill();
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    // Copies of what goes to everybody, and of answers, which nobody else's key is known of; of no task, partial or request.
    let copied = list(&["NS.answers", "NS.news"]);
    assert_eq!(broker.open_to(Role::Producer).await, [list(&[]), list(&["NS"]), copied.clone(), list(&[])]);
    let tasks = list(&["map", "again", "suspect"]);
    assert_eq!(broker.open_to(Role::Worker).await, [tasks, list(&["NS"]), copied.clone(), list(&[])]);
    let [mut read, written, theirs, changed] = broker.open_to(Role::Aggregator).await;
    read.retain(|name| !name.starts_with("reduce."));
    assert_eq!([read, written], [list(&["control", "dead", "store"]), list(&["NS", "NS.answers", "NS.news"])]);
    assert_eq!((theirs, changed), (copied, list(&["store"])));
    seen::fault("every user at every queue", "refused by the broker but for what its role needs");
}

/// All that it has said.
fn said(outcome: &Outcome) -> String {
    format!("{}{}", String::from_utf8_lossy(&outcome.stdout), outcome.stderr)
}

#[test]
fn no_password_is_in_any_output_whatever_goes_wrong() {
    let node = Node::default();
    node.control(&["add_user", "ann", SECOND]);
    let mut namespace = Namespace::at(node.url());
    namespace.room.write("in.txt", "a\n");
    let address = node.address();
    let urls = [
        format!("amqp://ann:{SECOND}@{address}/%2f"),
        format!("amqp://ann:{SECOND}x@{address}/%2f"),
        format!("amqp://ann:{SECOND}@{address}/nowhere"),
        format!("amqp://ann:{SECOND}@127.0.0.1:1/%2f"),
        format!("amqps://ann:{SECOND}@{address}/%2f"),
        format!("http://ann:{SECOND}@{address}"),
        format!("amqp://ann:{SECOND}@[::1]/"),
        format!("amqp://ann:{SECOND}"),
        SECOND.to_owned(),
    ];
    let commands: [(&str, &[&str]); 7] = [
        ("producer", &["push", "in.txt"]),
        ("producer", &["jobs"]),
        ("producer", &["dead", "ls"]),
        ("producer", &["teardown", "--yes"]),
        ("worker", &["--exit-when-idle"]),
        ("aggregator", &["--store", "elsewhere"]),
        ("producer", &["set-up", "--management-url", "http://127.0.0.1:1", "--passwords", "."]),
    ];
    for url in &urls {
        for (name, args) in commands {
            for log in ["", "trace"] {
                namespace.settings.insert("RABBIT_REDUCE_LOG", log.to_owned());
                let mut command = namespace.command(name, args);
                let by_environment = Running::start(command.env("AMQP_URL", url)).ended();
                assert!(by_environment.code != Some(0), "{url}: {name} {args:?}");
                assert!(!said(&by_environment).contains("s3cret"), "{url}: {name} {args:?}: {}", said(&by_environment));
            }
        }
        namespace.settings.clear();
        let mut command = namespace.command("producer", &["jobs", "--broker-url", url]);
        let by_flag = Running::start(&mut command).ended();
        assert!(!said(&by_flag).contains("s3cret"), "{url}: {}", said(&by_flag));
    }
    // Nor is that of the management API, where it has no place.
    let url = format!("http://ann:{SECOND}@127.0.0.1:1");
    let mut command = namespace.command("producer", &["set-up", "--passwords", "."]);
    let misplaced = Running::start(command.env("RABBIT_REDUCE_MANAGEMENT_URL", &url)).ended();
    misplaced.refused(2, &["holds a login"]);
    let mut command = namespace.command("producer", &["set-up", "--help"]);
    let help = Running::start(command.env("RABBIT_REDUCE_MANAGEMENT_URL", &url)).ended();
    assert!(!said(&misplaced).contains("s3cret") && !said(&help).contains("s3cret"));
    // Nor the keys of a bucket.
    for log in ["", "trace"] {
        let mut command = namespace.command("aggregator", &["--store", "s3://bucket/folder"]);
        command
            .env("RABBIT_REDUCE_LOG", log)
            .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
            .env("AWS_ALLOW_HTTP", "true");
        command.env("AWS_SECRET_ACCESS_KEY", "s3cret-key").env("AWS_SESSION_TOKEN", "s3cret-token");
        let closed = Running::start(command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_REGION", "here")).ended();
        assert!(closed.code == Some(5) && !said(&closed).contains("s3cret"), "{}", said(&closed));
    }
    // What is no text is no reason to give up.
    let mut command = namespace.command("producer", &["push"]);
    command.arg(OsStr::from_bytes(b"caf\xe9")).env("AMQP_URL", &urls[3]);
    Running::start(&mut command).ended().refused(5, &["caf"]);
    let warned = namespace.ask(&["jobs", "--broker-url", &urls[0]]);
    assert!(warned.stderr.contains("--broker-password-file"), "{}", warned.stderr);
    seen::fault("a password goes wherever it may", "no output has it, at any level of logging");
}
