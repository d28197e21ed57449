//! What jobs of three sizes cost, role by role, beside what the model says of them, and what it says of jobs that are larger.
//!
//! Rates are those of the smallest size, and the others show how far they hold; what lies beyond is foretold from the largest.
//! What would surprise: everything runs through a broker on this machine, so that its bytes can be counted on the loopback
//! device and its processes asked what they used.

use crate::Programs;
use crate::inputs;
use crate::measured::measure_apart;
use crate::model::{Costs, Job};
use crate::processes::{looped_bytes, used_by_group};
use crate::roles::Roles;
use serde::Serialize;
use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

/// A kind of jobs, in sizes that grow.
struct Kind {
    what: &'static str,
    by: &'static str,
    chunk_bytes: f64,
    /// Flags, and for each size the inputs.
    flags: &'static str,
    sizes: Vec<Vec<&'static str>>,
    /// Whether larger inputs have more keys.
    grows: bool,
}

fn kinds() -> Vec<Kind> {
    let repeated = || [1, 4, 10].map(|times| vec!["kjv100.txt"; times]).to_vec();
    let natural = "--lowercase --top 20";
    let (value, reference) = (f64::from(7 << 20), f64::from(16 << 20));
    vec![
        Kind {
            what: "natural text by reference",
            by: "reference",
            chunk_bytes: reference,
            flags: natural,
            sizes: repeated(),
            grows: false,
        },
        Kind {
            what: "natural text by value",
            by: "value",
            chunk_bytes: value,
            flags: natural,
            sizes: repeated(),
            grows: false,
        },
        Kind {
            what: "text whose words hardly repeat, by reference",
            by: "reference",
            chunk_bytes: reference,
            flags: "--lowercase -o /dev/null",
            sizes: vec![vec!["linux-quarter.txt"], vec!["linux-half.txt"], vec!["linux.txt"]],
            grows: true,
        },
    ]
}

/// What one job took.
#[derive(Clone, Debug, Serialize)]
struct Seen {
    input_bytes: f64,
    wall_s: f64,
    producer_s: f64,
    worker_s: f64,
    aggregator_s: f64,
    broker_s: f64,
    broker_bytes: f64,
    broker_written_bytes: f64,
    aggregator_written_bytes: f64,
    tasks: f64,
    partials: f64,
    commits: f64,
    entries: f64,
    result_bytes: f64,
}

/// A kind, measured and foretold.
#[derive(Serialize)]
struct Compared {
    what: &'static str,
    seen: Vec<Seen>,
    foretold: Vec<Costs>,
}

/// Measures everything and prints it.
pub(crate) fn run(programs: &Programs, folder: &Path, json: Option<&Path>) -> io::Result<()> {
    let group = std::env::var("RABBIT_REDUCE_BROKER_GROUP").ok().and_then(|group| group.parse().ok());
    let group = group
        .ok_or_else(|| io::Error::other("this needs a broker of its own: scripts/with-broker scripts/bench scale"))?;
    inputs::make_pieces(folder)?;
    let mut all = Vec::new();
    for kind in kinds() {
        let mut seen = Vec::new();
        for sources in &kind.sizes {
            seen.push(measure(programs, folder, group, &kind, sources)?);
        }
        let unit = Units::of(&kind, &seen[0]);
        let foretold: Vec<Costs> = seen.iter().map(|seen| unit.job(seen.input_bytes, seen.wall_s).costs()).collect();
        print(&kind, &unit, &seen, &foretold)?;
        all.push(Compared { what: kind.what, seen, foretold });
    }
    match json {
        Some(path) => std::fs::write(path, serde_json::to_vec_pretty(&all)?),
        None => Ok(()),
    }
}

fn measure(programs: &Programs, folder: &Path, group: u32, kind: &Kind, sources: &[&str]) -> io::Result<Seen> {
    let roles = Roles::start(programs, folder, &["--memory", MEMORY])?;
    let mut command = vec![programs.of("producer").into_os_string()];
    let flags = format!(
        "push --namespace {} --by {} --chunk-size {} {} {}",
        roles.namespace(),
        kind.by,
        kind.chunk_bytes,
        kind.flags,
        sources.join(" ")
    );
    command.extend(flags.split(' ').map(OsString::from));
    let before = (looped_bytes()?, used_by_group(group)?, roles.used()?);
    let figures = measure_apart(&command, folder)?;
    let (looped, broker, used) = (looped_bytes()? - before.0, used_by_group(group)? - before.1, roles.used()?);
    let (aggregator, worker) = (used.aggregator - before.2.aggregator, used.worker - before.2.worker);
    let input_bytes =
        sources.iter().map(|name| Ok(folder.join(name).metadata()?.len() as f64)).sum::<io::Result<f64>>()?;
    let told = tell_store(roles.store())?;
    Ok(Seen {
        input_bytes,
        wall_s: figures.wall_s,
        producer_s: figures.cpu_s,
        worker_s: worker.cpu_s,
        aggregator_s: aggregator.cpu_s,
        broker_s: broker.cpu_s,
        // Everything goes in and out.
        broker_bytes: looped / 2.0,
        broker_written_bytes: broker.written_bytes,
        aggregator_written_bytes: aggregator.written_bytes,
        tasks: told.tasks,
        partials: told.partials,
        commits: told.commits,
        entries: told.entries,
        result_bytes: told.result_bytes,
    })
}

/// What a store's ledgers tell of its only job.
#[derive(Default)]
struct Told {
    tasks: f64,
    partials: f64,
    commits: f64,
    entries: f64,
    result_bytes: f64,
}

fn tell_store(store: &Path) -> io::Result<Told> {
    let mut told = Told::default();
    for job in std::fs::read_dir(store.join("jobs"))? {
        let job = job?.path();
        let seal: Value = serde_json::from_slice(&std::fs::read(job.join("seal.json"))?)?;
        told.tasks += seal["chunks"].as_f64().unwrap_or(0.0);
        for ledger in std::fs::read_dir(job.join("ledger"))? {
            for entry in std::fs::read_dir(ledger?.path())? {
                let record: Value = serde_json::from_slice(&std::fs::read(entry?.path())?)?;
                let entry = &record["entry"];
                told.entries += 1.0;
                if let Some(chunks) = entry["commit"]["chunks"].as_array() {
                    told.commits += 1.0;
                    let units = chunks.iter().filter_map(|chunk| chunk["units"].as_array());
                    told.partials += units.map(Vec::len).sum::<usize>() as f64;
                }
                told.result_bytes += entry["finish"]["size"]["bytes"].as_f64().unwrap_or(0.0);
            }
        }
    }
    Ok(told)
}

/// Of the aggregator.
const MEMORY: &str = "4GiB";
/// Deliveries of a queue that it commits at once with it: between half of its prefetch and a quarter.
const WINDOW: f64 = 127.0 * 3.0 / 8.0;
/// As by default.
const PARTITIONS: f64 = 8.0;

/// What one unit of everything takes, by one job.
struct Units<'k> {
    kind: &'k Kind,
    pair_bytes_of_a_chunk: f64,
    result_bytes: f64,
    /// Result bytes by input bytes.
    growth: f64,
    worker_s: f64,
    aggregator_s: f64,
    broker_s: f64,
    producer_s: f64,
}

impl<'k> Units<'k> {
    fn of(kind: &'k Kind, seen: &Seen) -> Self {
        let job = Job {
            input_bytes: seen.input_bytes,
            chunk_bytes: kind.chunk_bytes,
            by_value: kind.by == "value",
            partitions: PARTITIONS,
            pair_bytes: 0.0,
            result_bytes: seen.result_bytes,
            window: f64::MAX,
            seconds: 0.0,
        };
        let pair_bytes = seen.broker_bytes - job.costs().broker_bytes;
        let input = seen.input_bytes;
        Self {
            kind,
            pair_bytes_of_a_chunk: pair_bytes / seen.tasks,
            result_bytes: seen.result_bytes,
            growth: seen.result_bytes / input,
            worker_s: seen.worker_s / input,
            aggregator_s: seen.aggregator_s / pair_bytes,
            broker_s: seen.broker_s / seen.broker_bytes,
            producer_s: seen.producer_s / if kind.grows { seen.result_bytes } else { input },
        }
    }

    fn job(&self, input_bytes: f64, seconds: f64) -> Job {
        Job {
            input_bytes,
            chunk_bytes: self.kind.chunk_bytes,
            by_value: self.kind.by == "value",
            partitions: PARTITIONS,
            pair_bytes: self.pair_bytes_of_a_chunk,
            result_bytes: if self.kind.grows { input_bytes * self.growth } else { self.result_bytes },
            window: WINDOW,
            seconds,
        }
    }
}

/// What each role takes for such a job, in seconds of one core.
struct Seconds {
    producer: f64,
    worker: f64,
    aggregator: f64,
    broker: f64,
}

impl Units<'_> {
    fn seconds(&self, job: &Job) -> Seconds {
        let costs = job.costs();
        Seconds {
            producer: self.producer_s * if self.kind.grows { job.result_bytes } else { job.input_bytes },
            worker: self.worker_s * job.input_bytes,
            aggregator: self.aggregator_s * costs.pair_bytes,
            broker: self.broker_s * costs.broker_bytes,
        }
    }
}

fn print(kind: &Kind, unit: &Units<'_>, seen: &[Seen], foretold: &[Costs]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n{}: seen / foretold from the smallest", kind.what)?;
    let titles = ["input GB", "wall s", "tasks", "partials", "commits", "entries", "broker MB", "aggregator writes MB"];
    let roles = ["producer s", "worker s", "aggregator s", "broker s", "broker writes MB"];
    writeln!(out, "{}", titles.iter().chain(&roles).map(|title| format!("{title:>21}")).collect::<String>())?;
    for (seen, costs) in seen.iter().zip(foretold) {
        let seconds = unit.seconds(&unit.job(seen.input_bytes, seen.wall_s));
        let both = |seen: f64, told: f64| format!("{:>21}", format!("{} / {}", short(seen), short(told)));
        let one = |seen: f64| format!("{:>21}", short(seen));
        let cells = [
            one(seen.input_bytes / 1e9),
            one(seen.wall_s),
            both(seen.tasks, costs.tasks),
            both(seen.partials, costs.partials),
            both(seen.commits, costs.commits),
            both(seen.entries, costs.entries),
            both(seen.broker_bytes / 1e6, costs.broker_bytes / 1e6),
            both(seen.aggregator_written_bytes / 1e6, costs.written_bytes / 1e6),
            both(seen.producer_s, seconds.producer),
            both(seen.worker_s, seconds.worker),
            both(seen.aggregator_s, seconds.aggregator),
            both(seen.broker_s, seconds.broker),
            one(seen.broker_written_bytes / 1e6),
        ];
        writeln!(out, "{}", cells.concat())?;
    }
    // What is closest to it tells best.
    let unit = Units::of(kind, seen.last().expect("a kind has sizes"));
    for terabytes in [1.0, 100.0] {
        let job = unit.job(terabytes * 1e12, 0.0);
        let (costs, seconds) = (job.costs(), unit.seconds(&job));
        writeln!(
            out,
            "{terabytes} TB on paper: {} tasks, {} partials, {} GB through the broker, {} commits, {} entries, {} GB written; \
             hours of one core: worker {}, aggregator {}, broker {}, producer {}",
            short(costs.tasks),
            short(costs.partials),
            short(costs.broker_bytes / 1e9),
            short(costs.commits),
            short(costs.entries),
            short(costs.written_bytes / 1e9),
            short(seconds.worker / 3600.0),
            short(seconds.aggregator / 3600.0),
            short(seconds.broker / 3600.0),
            short(seconds.producer / 3600.0),
        )?;
    }
    Ok(())
}

/// Three figures that count.
fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}
