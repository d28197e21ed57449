//! Machines of a test's own: network namespaces of this one, each with a cable to it and to nobody else.
//!
//! It knows no role. What would surprise: a host has no route but to the test's machine, which it knows by an address of its own;
//! it has that machine's files and processes, with mounts of its own where it is told so; and it is gone when it is dropped, so what
//! runs there has to be dropped before it. It takes being root.

use crate::processes::Running;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use uuid::Uuid;

/// Networks of two addresses: those that are set aside for tests between networks (RFC 2544), so nobody else has them.
const NETWORKS: u32 = 1 << 15;
/// How often a network is looked for that is free.
const ATTEMPTS: usize = 20;
/// Nobody's: what is sent there is lost.
const NOWHERE: &str = "02:00:00:00:00:01";

/// A machine.
#[derive(Debug)]
pub struct Host {
    /// Of the namespace, and of our end of the cable.
    name: String,
    near: Ipv4Addr,
    far: Ipv4Addr,
    mounts: Vec<[PathBuf; 2]>,
}

impl Default for Host {
    /// # Panics
    /// If it cannot be made.
    fn default() -> Self {
        for attempt in 1.. {
            match Self::somewhere() {
                Ok(host) => return host,
                Err(said) => assert!(
                    attempt < ATTEMPTS,
                    "no machine of our own can be made ({said}): these tests need `ip` of iproute2, and to be root"
                ),
            }
        }
        unreachable!("the last attempt returns or panics")
    }
}

impl Host {
    fn somewhere() -> Result<Self, String> {
        let number = Uuid::new_v4();
        let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number.as_fields().0 % NETWORKS * 4;
        let [near, far] = [1, 2].map(|place| Ipv4Addr::from(network + place));
        // Names of devices have fifteen characters at the most.
        let name = format!("rr{:.12}", number.simple().to_string());
        ip(&["netns", "add", &name])?;
        // From here on it is taken down again.
        let host = Self { name, near, far, mounts: Vec::new() };
        let name = &host.name;
        ip(&["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        ip(&["addr", "add", &format!("{near}/30"), "dev", name])?;
        ip(&["link", "set", name, "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{far}/30"), "dev", "eth0"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// The address of the test's machine, as it is seen from this one.
    #[must_use]
    pub const fn neighbour(&self) -> Ipv4Addr {
        self.near
    }

    /// Its own address.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.far
    }

    /// What is started from now on sees the first folder in place of the second.
    pub fn mount(&mut self, folder: &Path, at: &Path) {
        self.mounts.push([folder.to_owned(), at.to_owned()]);
    }

    /// The same command on this machine.
    #[must_use]
    pub fn command(&self, command: &Command) -> Command {
        let mut here = Command::new("ip");
        here.args(["netns", "exec", &self.name]);
        for mount in &self.mounts {
            // Each becomes the next, so the process is the one that was started.
            here.args(["sh", "-c", "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"", "sh"]).args(mount);
        }
        here.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => here.env(name, value),
                None => here.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            here.current_dir(folder);
        }
        here
    }

    /// Whether somebody there answers whoever connects from this machine.
    ///
    /// # Panics
    /// If nobody can try.
    #[must_use]
    pub fn reaches(&self, address: SocketAddr) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{}/{}", address.ip(), address.port());
        let mut bash = Command::new("timeout");
        bash.args(["5", "bash", "-c", &connect]);
        let tried = self.command(&bash).stderr(Stdio::null()).status();
        tried.expect("there is `ip`").success()
    }

    /// From now on nothing arrives, either way, and nobody is told.
    pub fn cut_off(&self) {
        let Self { name, near, far, .. } = self;
        let lost = |device: &str, address: &Ipv4Addr, of: &[&str]| {
            let address = address.to_string();
            let neighbour = ["neigh", "replace", &address, "lladdr", NOWHERE, "nud", "permanent", "dev", device];
            must(&[of, &neighbour].concat());
        };
        lost(name, far, &[]);
        lost("eth0", near, &["-n", name]);
    }

    /// Undoes that.
    pub fn connect(&self) {
        let Self { name, near, far, .. } = self;
        must(&["neigh", "del", &far.to_string(), "dev", name]);
        must(&["-n", name, "neigh", "del", &near.to_string(), "dev", "eth0"]);
    }

    /// From now on no more than so many kilobits pass in a second, each way.
    ///
    /// # Panics
    /// If the system cannot do that.
    pub fn slow_down(&self, kilobits: u32) {
        let rate = format!("{kilobits}kbit");
        let shape = ["qdisc", "replace", "root", "tbf", "rate", &rate, "burst", "16kb", "latency", "500ms"];
        for of in [&["dev", self.name.as_str()][..], &["-n", &self.name, "dev", "eth0"][..]] {
            let (options, device) = of.split_at(of.len() - 2);
            let arguments = [options, &shape[..2], device, &shape[2..]].concat();
            let done = Command::new("tc").args(&arguments).output().expect("there is `tc` of iproute2");
            assert!(done.status.success(), "tc {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }

    /// Somebody who listens there, until it is dropped.
    ///
    /// # Panics
    /// If nobody can.
    #[must_use]
    pub fn listens(&self, port: u16) -> Running {
        let listen = "my $all = IO::Socket::INET->new(Listen => 9, LocalPort => shift) or die; $all->accept while 1";
        let mut perl = Command::new("perl");
        Running::start(&mut self.command(perl.args(["-MIO::Socket::INET", "-e", listen, &port.to_string()])))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Our end of the cable goes with the other.
        let deleted = ip(&["netns", "delete", &self.name]);
        // A second panic would hide the first.
        assert!(deleted.is_ok() || std::thread::panicking(), "{} is left behind: {deleted:?}", self.name);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("ip {}: {}", arguments.join(" "), said.trim())) }
}

fn must(arguments: &[&str]) {
    ip(arguments).unwrap_or_else(|said| panic!("{said}"));
}
