//! Who may come to a broker and how: over TLS, known by a password out of a file or by a certificate, and nothing secret in any output.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::{Node, free_port};
use rabbit_reduce_tests::processes::{Outcome, Room, Running};
use rabbit_reduce_tests::seen;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::PathBuf;

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
    refused(&[], Some(broker.node.url()), 2, &["certificates are for a broker at amqps://"]);
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
    namespace.room.write("password", SECOND);
    broker.node.control(&["close_all_connections", "the password has changed"]);
    let mut worker = namespace.worker(&[]);
    assert_eq!(push.ended().text(0), expected);
    assert!(aggregator.lives() && worker.lives());
    seen::fault("a password changes", "whoever was connected connects anew with the new one, answer exact");
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
    let commands: [(&str, &[&str]); 6] = [
        ("producer", &["push", "in.txt"]),
        ("producer", &["jobs"]),
        ("producer", &["dead", "ls"]),
        ("producer", &["teardown", "--yes"]),
        ("worker", &["--exit-when-idle"]),
        ("aggregator", &["--store", "elsewhere"]),
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
    let warned = namespace.ask(&["jobs", "--broker-url", &urls[0]]);
    assert!(warned.stderr.contains("--broker-password-file"), "{}", warned.stderr);
    seen::fault("a password goes wherever it may", "no output has it, at any level of logging");
}
