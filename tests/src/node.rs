//! RabbitMQ nodes of a test's own, which it may stop, kill, freeze, raise alarms on, and join to a cluster.
//!
//! `scripts/rabbit-node` knows how to run one privately, and which RabbitMQ. What would surprise: a node lives under a shell that
//! waits for our end of a pipe, so it is gone when the test is, however that ended; and it is killed, not stopped, in the end.

use crate::processes::until;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// Ports may be taken between being found free and being used: then all is tried again.
const START_ATTEMPTS: u32 = 3;
/// How long a node that has come up may take for its greeting.
const GREETING: Duration = Duration::from_secs(5);
/// Starts a program in a process group of its own, tells the group, and ends it when nobody holds the pipe any more.
const SUPERVISE: &str = r#"
set -m
"$0" "$1" "$2" </dev/null >>"$1/log/$2" 2>&1 &
group=$!
echo $group
read -r _
kill -KILL -- "-$group" 2>/dev/null
wait
"#;
/// Alarms are for machines that do something else, too; the write-ahead log is kept in memory up to its size.
const SETTINGS: &str = "
    vm_memory_high_watermark.relative = 0.8
    disk_free_limit.absolute = 50MB
    raft.wal_max_size_bytes = 67108864
";

/// What the leaders of a namespace's quorum queues themselves say: names, messages ready and unacked, consumers.
const QUERY: &str = r#"
    Ask = fun(Queue, What) ->
        {ok, Said, _} = ra:consistent_query(amqqueue:get_pid(Queue), What),
        Said
    end,
    Name = fun(Queue) -> element(4, amqqueue:get_name(Queue)) end,
    [{Name(Queue),
      Ask(Queue, fun rabbit_fifo:query_messages_total/1),
      Ask(Queue, fun rabbit_fifo:query_consumer_count/1)}
     || Queue <- rabbit_amqqueue:list(), amqqueue:get_type(Queue) =:= rabbit_quorum_queue,
        string:prefix(Name(Queue), "NAMESPACE.") =/= nomatch].
"#;

/// A queue, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its full name.
    pub name: String,
    /// Ready, and delivered and not acked.
    pub messages: u64,
    /// Who consumes.
    pub consumers: u64,
}

/// A program of a node, and everything that it started.
#[derive(Debug)]
struct Program {
    supervisor: Child,
    group: String,
}

impl Program {
    fn start(folder: &Path, tool: &str) -> Self {
        let mut supervisor = Command::new("bash")
            .args(["-c", SUPERVISE])
            .args([&script(), folder, Path::new(tool)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Where it would say that what it killed was killed.
            .stderr(Stdio::null())
            .spawn()
            .expect("there is bash");
        let mut group = String::new();
        let said = supervisor.stdout.take().expect("it is piped");
        BufReader::new(said).read_line(&mut group).expect("the supervisor tells the group");
        Self { supervisor, group: format!("-{}", group.trim()) }
    }

    fn signal(&self, name: &str) -> bool {
        let sent = Command::new("kill").args(["-s", name, "--", &self.group]).stderr(Stdio::null()).status();
        sent.expect("there is kill").success()
    }

    fn lives(&self) -> bool {
        self.signal("0")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        self.supervisor.wait().ok();
    }
}

/// A node.
#[derive(Debug)]
pub struct Node {
    name: String,
    port: u16,
    server: Option<Program>,
    mapper: Option<Program>,
    /// Goes last, when nobody writes into it any more.
    folder: TempDir,
}

impl Default for Node {
    fn default() -> Self {
        Self::with("")
    }
}

impl Node {
    /// Starts a node with these lines of `rabbitmq.conf` besides the usual ones.
    ///
    /// # Panics
    /// If there is no RabbitMQ, or it does not start.
    #[must_use]
    pub fn with(settings: &str) -> Self {
        Self::with_plugins(settings, "")
    }

    /// The same with these plug-ins, of those that come with RabbitMQ.
    ///
    /// # Panics
    /// As [`Node::with`].
    #[must_use]
    pub fn with_plugins(settings: &str, plugins: &str) -> Self {
        Self::begin(settings, &format!("PLUGINS={plugins}\n"))
    }

    /// Starts a node that takes clients from other machines, too, `guest` among them.
    ///
    /// # Panics
    /// As [`Node::with`].
    #[must_use]
    pub fn open_to_others() -> Self {
        Self::begin("loopback_users.guest = false", "ADDRESS=0.0.0.0\n")
    }

    fn begin(settings: &str, lines: &str) -> Self {
        for attempt in 1.. {
            let (mapper, cookie) = (free_port(), Uuid::new_v4().simple().to_string());
            let mut node = Self::prepared(settings, mapper, &cookie);
            node.is_also(lines);
            node.mapper = Some(Program::start(node.folder.path(), "mapper"));
            match node.run() {
                Ok(()) => return node,
                Err(said) => assert!(attempt < START_ATTEMPTS, "the node does not start: {said}"),
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    fn prepared(settings: &str, mapper: u16, cookie: &str) -> Self {
        let found = Command::new(script()).arg("found").status().expect("there is bash");
        assert!(found.success(), "these tests start nodes of their own: install RabbitMQ 3.10 or later");
        let folder = TempDir::with_prefix("rabbit-node-").expect("there is room for temporary files");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("the folder is ours");
            fs::write(&path, text).expect("the folder is ours");
            path
        };
        let (name, port) = (format!("rabbit-{}@localhost", Uuid::new_v4().simple()), free_port());
        write("node", &format!("NAME={name}\nPORT={port}\nDISTRIBUTION_PORT={}\nMAPPER_PORT={mapper}\n", free_port()));
        write("rabbitmq.conf", &format!("{SETTINGS}\n{settings}\n").replace("\n    ", "\n"));
        write("log/server", "");
        let cookie = write("home/.erlang.cookie", cookie);
        fs::set_permissions(cookie, fs::Permissions::from_mode(0o400)).expect("the file is ours");
        Self { folder, name, port, server: None, mapper: None }
    }

    /// Adds lines to those that say which node it is.
    fn is_also(&self, lines: &str) {
        let path = self.folder.path().join("node");
        let before = fs::read_to_string(&path).expect("it is written");
        fs::write(&path, before + lines).expect("the folder is ours");
    }

    fn run(&mut self) -> Result<(), String> {
        let server = self.server.insert(Program::start(self.folder.path(), "server"));
        let port = self.port;
        let up =
            until("the node is up", || if answers(port) { Some(true) } else { (!server.lives()).then_some(false) });
        if up { Ok(()) } else { Err(fs::read_to_string(self.folder.path().join("log/server")).unwrap_or_default()) }
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address())
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What other nodes call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `rabbitmqctl`, and tells what it says.
    ///
    /// # Panics
    /// If that fails.
    pub fn control(&self, args: &[&str]) -> String {
        let done = Command::new(script()).arg(self.folder.path()).arg("ctl").args(args).output().expect("it starts");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        assert!(done.status.success(), "rabbitmqctl {args:?}: {}{}", said(&done.stdout), said(&done.stderr));
        said(&done.stdout)
    }

    /// Every work queue of a namespace as it is now; the listings of `rabbitmqctl` are seconds old.
    #[must_use]
    pub fn queues(&self, namespace: &str) -> Vec<Held> {
        let said = self.control(&["eval", &QUERY.replace("NAMESPACE", namespace)]);
        let parse = |queue: &str| {
            let (name, numbers) = queue.split_once("\">>,")?;
            let (messages, consumers) = numbers.split_once('}')?.0.split_once(',')?;
            Some(Held { name: name.to_owned(), messages: messages.parse().ok()?, consumers: consumers.parse().ok()? })
        };
        let squeezed: String = said.split_whitespace().collect();
        let queues: Option<Vec<Held>> = squeezed.split("{<<\"").skip(1).map(parse).collect();
        queues.unwrap_or_else(|| panic!("no list of queues: {said}"))
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is no such queue.
    #[must_use]
    pub fn queue(&self, namespace: &str, queue: &str) -> Held {
        let name = format!("{namespace}.{queue}");
        let found = self.queues(namespace).into_iter().find(|queue| queue.name == name);
        found.unwrap_or_else(|| panic!("there is no queue {name}"))
    }

    /// Those of a namespace that hold anything.
    #[must_use]
    pub fn holding(&self, namespace: &str) -> Vec<Held> {
        self.queues(namespace).into_iter().filter(|queue| queue.messages > 0).collect()
    }

    /// Shuts it down in order, and waits until it is gone.
    pub fn stop(&mut self) {
        self.control(&["stop"]);
        let server = self.server.take().expect("it runs");
        until("the node has stopped", || (!server.lives()).then_some(()));
    }

    /// Kills it.
    pub fn kill(&mut self) {
        drop(self.server.take().expect("it runs"));
    }

    /// Starts it on what it had before.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        if let Err(said) = self.run() {
            panic!("the node does not start again: {said}");
        }
    }

    /// Stands still, as a machine that swaps, until [`Node::thaw`].
    pub fn freeze(&self) {
        self.send("STOP");
    }

    /// Goes on.
    pub fn thaw(&self) {
        self.send("CONT");
    }

    fn send(&self, signal: &str) {
        assert!(self.server.as_ref().is_some_and(|server| server.signal(signal)), "the node does not run");
    }
}

/// Three nodes that hold the same queues.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes; the first one's port mapper serves all.
    pub nodes: [Node; 3],
}

impl Default for Cluster {
    /// Starts them. Who is cut off from the others stops taking clients.
    fn default() -> Self {
        let settings = "cluster_partition_handling = pause_minority";
        let first = Node::with(settings);
        let read = |name: &str| fs::read_to_string(first.folder.path().join(name)).expect("it is written");
        let mapper = read("node").lines().find_map(|line| line.strip_prefix("MAPPER_PORT=")?.parse().ok());
        let cookie = read("home/.erlang.cookie");
        let join = || {
            let mut node = Node::prepared(settings, mapper.expect("it is written"), &cookie);
            node.run().unwrap_or_else(|said| panic!("the node does not start: {said}"));
            node.control(&["stop_app"]);
            node.control(&["join_cluster", first.name()]);
            node.control(&["start_app"]);
            node
        };
        let (second, third) = (join(), join());
        Self { nodes: [first, second, third] }
    }
}

impl Cluster {
    /// Which node leads a queue.
    ///
    /// # Panics
    /// If none of them does.
    #[must_use]
    pub fn leader(&self, queue: &str) -> usize {
        let leader = self.ask(queue, "element(2, amqqueue:get_pid(Queue))");
        self.nodes
            .iter()
            .position(|node| leader.contains(&node.name))
            .unwrap_or_else(|| panic!("nobody leads: {leader}"))
    }

    /// How many nodes hold a queue.
    ///
    /// # Panics
    /// If that is not said.
    #[must_use]
    pub fn members(&self, queue: &str) -> usize {
        let members = self.ask(queue, "length(maps:get(nodes, amqqueue:get_type_state(Queue)))");
        members.parse().unwrap_or_else(|_| panic!("no number of members: {members}"))
    }

    fn ask(&self, queue: &str, what: &str) -> String {
        let named = format!("rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)");
        self.nodes[0].control(&["eval", &format!("{{ok, Queue}} = rabbit_amqqueue:lookup({named}), {what}.")])
    }

    /// Cuts a node off from the others, though not from clients: they no longer let each other in. Comes back when it has noticed,
    /// and takes no clients any more.
    pub fn cut_off(&self, node: usize) {
        self.nodes[node].control(&[
            "eval",
            "[begin erlang:set_cookie(N, cut_off), erlang:disconnect_node(N) end || N <- nodes()].",
        ]);
        let port = self.nodes[node].port;
        until("the node that is cut off takes no clients", || (!answers(port)).then_some(()));
    }

    /// Joins it to the others again. Comes back when it takes clients, as they do.
    pub fn heal(&self, node: usize) {
        let others = self.nodes.iter().enumerate().filter(|(place, _)| *place != node);
        let names: Vec<String> = others.map(|(_, other)| format!("'{}'", other.name)).collect();
        let names = names.join(",");
        let heal = format!(
            "[begin erlang:set_cookie(N, erlang:get_cookie()), net_kernel:connect_node(N) end || N <- [{names}]]."
        );
        self.nodes[node].control(&["eval", &heal]);
        let port = self.nodes[node].port;
        until("the node takes clients again", || answers(port).then_some(()));
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in a workspace")
        .join("scripts/rabbit-node")
}

/// A port below the range that the system gives to outgoing connections.
///
/// # Panics
/// If all are taken.
#[must_use]
pub fn free_port() -> u16 {
    let random = || 20_000 + u16::try_from(Uuid::new_v4().as_u128() % 12_000).expect("it is small");
    std::iter::repeat_with(random)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("there are free ports")
}

/// A broker that is up answers the protocol's greeting with a method frame, whose first byte is 1.
fn answers(port: u16) -> bool {
    let greet = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(GREETING))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let mut first = [0];
        stream.read_exact(&mut first).map(|()| first == [1])
    };
    greet().unwrap_or(false)
}
