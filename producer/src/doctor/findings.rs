//! From what was observed to findings. Pure.
//!
//! What would surprise: only what keeps jobs from being done is bad; the rest is worth a look.

use rabbit_reduce_core::message::{About, SeenWorker};
use rabbit_reduce_core::topology::{QUEUE_BYTES, Topology, queue};
use rabbit_reduce_runtime::broker::Depth;
use rabbit_reduce_runtime::figures::{count, size, span};
use regex::Regex;
use serde_json::Value;
use std::time::Duration;

/// The oldest release of RabbitMQ that does, and the oldest that is recommended.
const LEAST_VERSION: [u64; 2] = [3, 10];
const GOOD_VERSION: [u64; 2] = [4, 2];
/// What all queues of a namespace may hold on the broker's disk: they are capped, and this is more than all caps.
const WANTED_DISK_BYTES: u64 = 8 << 30;

/// Clocks that are less apart agree, seeing that an answer takes its time.
const CLOCKS_APART: Duration = Duration::from_secs(30);

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Good,
    /// Jobs are done all the same, for now.
    Odd,
    /// It keeps jobs from being done.
    Bad,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, in a word.
    pub what: &'static str,
    /// How well that is.
    pub health: Health,
    /// In a line.
    pub says: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// What there is to judge.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The namespace.
    pub namespace: String,
    /// Its queues, by their names in it; none where there is no such queue.
    pub queues: Vec<(String, Option<Depth>)>,
    /// Workers, as an aggregator sees them, or why none answers.
    pub workers: Result<Vec<SeenWorker>, String>,
    /// An aggregator, if one answers, and the time here when it did, in milliseconds since 1970.
    pub aggregator: Option<(About, u64)>,
    /// What the management API tells: overview, nodes, policies, queues; or why it does not.
    pub inside: Option<Result<[Value; 4], String>>,
}

fn good(what: &'static str, says: String) -> Finding {
    Finding { what, health: Health::Good, says, remedy: None }
}

fn odd(what: &'static str, says: String, remedy: &str) -> Finding {
    Finding { what, health: Health::Odd, says, remedy: Some(remedy.to_owned()) }
}

fn bad(what: &'static str, says: String, remedy: &str) -> Finding {
    Finding { health: Health::Bad, ..odd(what, says, remedy) }
}

/// The one thing that is to be said if there is no way to look.
#[must_use]
pub fn unreachable_broker(reason: String) -> Finding {
    bad(
        "broker",
        reason,
        "see that RabbitMQ runs and lets this machine and this user in: --broker-url, and --management-url if it is given",
    )
}

/// Everything that is to be said.
#[must_use]
pub fn judge(observed: &Observed) -> Vec<Finding> {
    let mut findings = vec![good("broker", "it lets us in".to_owned())];
    match &observed.inside {
        Some(Ok([overview, nodes, policies, declared])) => {
            findings.push(version(overview));
            findings.extend(disks(nodes));
            findings.extend(alarms(nodes));
            findings.extend(meddling(policies, observed));
            findings.extend(otherwise(declared, &observed.namespace));
        }
        Some(Err(reason)) => findings.push(bad(
            "broker",
            format!("its management API cannot be asked: {reason}"),
            "see that the plug-in rabbitmq_management is on, that --management-url is right, and that the user may ask it",
        )),
        None => findings.push(odd(
            "broker",
            "its version, alarms and policies were not looked at".to_owned(),
            "give --management-url, as http://127.0.0.1:15672",
        )),
    }
    findings.extend(queues(observed));
    findings.extend(releases(observed));
    findings.extend(clocks(observed));
    findings
}

/// Queues that were declared by somebody else, otherwise than they have to be.
fn otherwise(declared: &Value, namespace: &str) -> Option<Finding> {
    let mut wrong = Vec::new();
    for queue in Topology::new(namespace, QUEUE_BYTES).queues {
        let name = format!("{namespace}.{}", queue.name);
        let Some(found) = each(declared).find(|found| found["name"] == *name) else { continue };
        let given = &found["arguments"];
        let as_wanted = found["type"] == "quorum"
            && given["x-overflow"] == "reject-publish"
            && given["x-delivery-limit"] == queue.delivery_limit
            && given["x-max-length"].as_u64() == queue.max_messages
            && given["x-max-length-bytes"].as_u64() == queue.max_bytes;
        if !as_wanted {
            wrong.push(name);
        }
    }
    let remedy =
        "let its jobs end, then `producer teardown` and `producer set-up` with the release that all programs have";
    (!wrong.is_empty())
        .then(|| bad("queues", format!("{} have other arguments than they need", wrong.join(", ")), remedy))
}

/// Programs of another release than this one.
fn releases(observed: &Observed) -> Vec<Finding> {
    let ours = env!("CARGO_PKG_VERSION");
    let aggregator = observed.aggregator.iter().map(|(about, _)| ("the aggregator".to_owned(), about.release.as_str()));
    let workers = observed.workers.iter().flatten();
    let workers = workers.filter_map(|worker| Some((worker.name.clone(), worker.release.as_deref()?)));
    let others = aggregator.chain(workers).filter(|(_, release)| *release != ours);
    let other = |(name, release)| {
        let remedy = "use the same release everywhere: one of another may hand tasks back, and never map them";
        odd("release", format!("{name} is of release {release}, this is {ours}"), remedy)
    };
    others.map(other).collect()
}

/// Whether the aggregator's clock agrees with this one.
fn clocks(observed: &Observed) -> Option<Finding> {
    let (about, now_ms) = observed.aggregator.as_ref()?;
    let apart = Duration::from_millis(about.time_ms.abs_diff(*now_ms));
    if apart < CLOCKS_APART {
        return Some(good("clock", "the aggregator's agrees with this one".to_owned()));
    }
    let says =
        format!("the aggregator's is {} {}", span(apart), if about.time_ms > *now_ms { "ahead" } else { "behind" });
    let remedy = "set both by NTP: with ten minutes between them, requests are taken for expired, and ages are wrong";
    Some(odd("clock", says, remedy))
}

fn version(overview: &Value) -> Finding {
    let said = overview["rabbitmq_version"].as_str().unwrap_or("?");
    let mut numbers = said.split('.').map(|part| part.parse().unwrap_or(0));
    let version = [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)];
    let says = format!("RabbitMQ {said}");
    if version < LEAST_VERSION {
        return bad("version", says, "RabbitMQ has to be 3.10 or later: upgrade it");
    }
    if version < GOOD_VERSION {
        return odd("version", says, "4.2 or later is recommended");
    }
    good("version", says)
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn alarms(nodes: &Value) -> Vec<Finding> {
    let alarm = |node: &Value, flag: &str, says: &str, remedy: &str| {
        let name = node["name"].as_str().unwrap_or("?");
        (node[flag] == true).then(|| bad("alarm", format!("{name} {says}: it takes no messages"), remedy))
    };
    let of_node = |node| {
        [
            alarm(node, "mem_alarm", "is short of memory", "give it more, or raise vm_memory_high_watermark"),
            alarm(node, "disk_free_alarm", "is short of disk", "make room on its disk, or lower disk_free_limit"),
        ]
    };
    each(nodes).flat_map(of_node).flatten().collect()
}

fn disks(nodes: &Value) -> Vec<Finding> {
    let disk = |node: &Value| {
        let free = node["disk_free"].as_u64()?;
        let says = format!("{} has {} free", node["name"].as_str().unwrap_or("?"), size(free));
        let enough = free.saturating_sub(node["disk_free_limit"].as_u64().unwrap_or(0)) >= WANTED_DISK_BYTES;
        let remedy =
            "the queues of a namespace hold some gigabytes at the most: make room, or its jobs may stand still";
        Some(if enough { good("disk", says) } else { odd("disk", says, remedy) })
    };
    each(nodes).filter_map(disk).collect()
}

/// Policies that apply to our queues: what they set was not meant for these.
fn meddling(policies: &Value, observed: &Observed) -> Vec<Finding> {
    let meddles = |policy: &Value| {
        let pattern = Regex::new(policy["pattern"].as_str()?).ok()?;
        let fits = |name: &&String| pattern.is_match(&format!("{}.{name}", observed.namespace));
        let name = observed.queues.iter().map(|(name, _)| name).find(fits)?;
        let policy_name = policy["name"].as_str().unwrap_or("?");
        let says = format!("the policy {policy_name:?} applies to {name} and others: {}", policy["definition"]);
        let remedy =
            "the queues declare what they need: see that the policy sets no length, age or dead letters for them";
        Some(odd("policy", says, remedy))
    };
    each(policies).filter_map(meddles).collect()
}

fn queues(observed: &Observed) -> Vec<Finding> {
    let missing: Vec<&str> =
        observed.queues.iter().filter(|(_, depth)| depth.is_none()).map(|(name, _)| name.as_str()).collect();
    if !missing.is_empty() {
        let says = format!("the namespace {} lacks {}", observed.namespace, missing.join(", "));
        let remedy = "declare it: `producer set-up`, or start an aggregator or a worker whose user may";
        return vec![bad("namespace", says, remedy)];
    }
    let depth = |name: &str| {
        let found = observed.queues.iter().find(|(known, _)| known == name).and_then(|(_, depth)| *depth);
        found.unwrap_or_default()
    };
    let messages: u64 = observed.queues.iter().filter_map(|(_, depth)| Some(u64::from((*depth)?.messages))).sum();
    let says = format!("{} has all of its queues, with {}", observed.namespace, count(messages, "message", "messages"));
    let mut findings = vec![good("namespace", says)];
    let there = count(depth(queue::CONTROL).consumers.into(), "aggregator", "aggregators");
    findings.push(match &observed.workers {
        Ok(_) => good("aggregator", format!("{there}, and one answers")),
        Err(reason) => {
            let remedy = "start one with `aggregator`, look at its log, and see that its clock is right";
            bad("aggregator", format!("{there}: {reason}"), remedy)
        }
    });
    let waiting = count(depth(queue::MAP).messages.into(), "task waits", "tasks wait");
    let workers = depth(queue::MAP).consumers;
    let there = count(workers.into(), "worker", "workers");
    findings.push(match workers {
        0 => bad("worker", format!("there is none, and {waiting}"), "start one with `worker`"),
        _ => good("worker", format!("{there}; {waiting}")),
    });
    for worker in observed.workers.iter().flatten() {
        let (rate, ago) = (size(worker.bytes_per_second), worker.silent_ms / 1000);
        let chunks = count(worker.chunks, "chunk", "chunks");
        findings.push(good("worker", format!("{}: {chunks}, {rate}/s, heard {ago} s ago", worker.name)));
    }
    let dead = depth(queue::DEAD);
    if dead.messages > 0 && dead.consumers == 0 {
        let says = format!("{} wait for an aggregator", count(dead.messages.into(), "dead letter", "dead letters"));
        findings.push(odd("dead letters", says, "start an aggregator; then see `producer dead ls`"));
    }
    let unreadable = depth(queue::UNREADABLE).messages;
    if unreadable > 0 {
        let name = format!("{}.{}", observed.namespace, queue::UNREADABLE);
        let says =
            format!("{} could be taken by nobody: they are in {name}", count(unreadable.into(), "message", "messages"));
        let remedy = "look in the broker's own pages at what they are, and at who may publish: docs/operate.md";
        findings.push(odd("unreadable", says, remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn observed() -> Observed {
        let depth = Depth { messages: 0, consumers: 1 };
        let topology = Topology::new("ns", QUEUE_BYTES);
        let queues = topology.queues.into_iter().map(|queue| (queue.name, Some(depth))).collect();
        let release = env!("CARGO_PKG_VERSION").to_owned();
        let worker = SeenWorker {
            name: "w".to_owned(),
            chunks: 2,
            bytes: 9,
            bytes_per_second: 2048,
            silent_ms: 4500,
            release: Some(release.clone()),
        };
        let overview = json!({ "rabbitmq_version": "4.2.1" });
        let nodes = json!([{ "name": "rabbit@a", "disk_free": 100_u64 << 30, "disk_free_limit": 1 << 20 }]);
        Observed {
            namespace: "ns".to_owned(),
            queues,
            workers: Ok(vec![worker]),
            aggregator: Some((About { release, time_ms: 1_000_000 }, 1_002_000)),
            inside: Some(Ok([overview, nodes, json!([]), json!([])])),
        }
    }

    fn set(observed: &mut Observed, name: &str, depth: Option<Depth>) {
        observed.queues.iter_mut().find(|(known, _)| known == name).expect("it is ours").1 = depth;
    }

    /// What is not good, by what it is about, and its remedies.
    fn complaints(observed: &Observed) -> Vec<(&'static str, Health, String)> {
        let findings = judge(observed).into_iter().filter(|finding| finding.health != Health::Good);
        findings
            .map(|found| (found.what, found.health, format!("{} → {}", found.says, found.remedy.unwrap_or_default())))
            .collect()
    }

    #[track_caller]
    fn complains(observed: &Observed, what: &str, health: Health, words: &[&str]) {
        let complaints = complaints(observed);
        let [(found, its, text)] = complaints.as_slice() else { panic!("{complaints:?}") };
        assert_eq!((*found, *its), (what, health), "{text}");
        for word in words {
            assert!(text.contains(word), "no `{word}` in {text}");
        }
    }

    #[test]
    fn what_is_well_is_told_without_a_remedy() {
        assert_eq!(complaints(&observed()), []);
        let says: Vec<String> = judge(&observed()).into_iter().map(|finding| finding.says).collect();
        assert!(says.contains(&"w: 2 chunks, 2.0 KiB/s, heard 4 s ago".to_owned()), "{says:?}");
    }

    #[test]
    fn everything_that_keeps_jobs_from_being_done_has_a_remedy() {
        let mut lacking = observed();
        set(&mut lacking, "retry", None);
        complains(&lacking, "namespace", Health::Bad, &["lacks retry", "producer set-up"]);
        let mut idle = observed();
        set(&mut idle, "map", Some(Depth { messages: 7, consumers: 0 }));
        complains(&idle, "worker", Health::Bad, &["7 tasks wait", "`worker`"]);
        let silent = Observed { workers: Err("nobody".to_owned()), ..observed() };
        complains(&silent, "aggregator", Health::Bad, &["nobody", "`aggregator`"]);
        let mut alarmed = observed();
        alarmed.inside.as_mut().expect("it is there").as_mut().expect("it was asked")[1][0]["mem_alarm"] = true.into();
        complains(&alarmed, "alarm", Health::Bad, &["rabbit@a is short of memory", "vm_memory_high_watermark"]);
        let mut declared = observed();
        let arguments = json!({ "x-overflow": "drop-head", "x-delivery-limit": 20 });
        declared.inside.as_mut().expect("it is there").as_mut().expect("it was asked")[3] =
            json!([{ "name": "ns.map", "type": "quorum", "arguments": arguments }]);
        complains(&declared, "queues", Health::Bad, &["ns.map", "teardown"]);
        let mut old = observed();
        old.inside.as_mut().expect("it is there").as_mut().expect("it was asked")[0] =
            json!({ "rabbitmq_version": "3.9.29" });
        complains(&old, "version", Health::Bad, &["3.9.29", "3.10"]);
    }

    #[test]
    fn what_is_worth_a_look_is_told_as_that() {
        let mut older = observed();
        older.inside.as_mut().expect("it is there").as_mut().expect("it was asked")[0] =
            json!({ "rabbitmq_version": "3.13.7" });
        complains(&older, "version", Health::Odd, &["4.2"]);
        let mut full = observed();
        full.inside.as_mut().expect("it is there").as_mut().expect("it was asked")[1][0]["disk_free"] = json!(1 << 30);
        complains(&full, "disk", Health::Odd, &["1.0 GiB free"]);
        let mut meddled = observed();
        meddled.inside.as_mut().expect("it is there").as_mut().expect("it was asked")[2] = json!([{ "name": "ttl", "pattern": "^ns\\.", "definition": { "message-ttl": 1 } }, { "pattern": "^other" }]);
        complains(&meddled, "policy", Health::Odd, &["\"ttl\"", "message-ttl"]);
        complains(&Observed { inside: None, ..observed() }, "broker", Health::Odd, &["--management-url"]);
        let mut unread = observed();
        set(&mut unread, "dead", Some(Depth { messages: 1, consumers: 0 }));
        complains(&unread, "dead letters", Health::Odd, &["1 dead letter wait"]);
        let mut unreadable = observed();
        set(&mut unreadable, "unreadable", Some(Depth { messages: 2, consumers: 0 }));
        complains(&unreadable, "unreadable", Health::Odd, &["2 messages could be taken by nobody", "ns.unreadable"]);
        let mut late = observed();
        late.aggregator.as_mut().expect("it answers").1 += 120_000;
        complains(&late, "clock", Health::Odd, &["2:02 behind", "NTP"]);
        let mut other = observed();
        other.workers.as_mut().expect("it answers")[0].release = Some("0.0.9".to_owned());
        complains(&other, "release", Health::Odd, &["w is of release 0.0.9", "same release"]);
        other = observed();
        other.aggregator.as_mut().expect("it answers").0.release = "9.0.0".to_owned();
        complains(&other, "release", Health::Odd, &["the aggregator is of release 9.0.0"]);
    }
}
