//! An aggregator's figures for Prometheus.
//!
//! What would surprise: whatever cannot be found out is left out, and `up` says so; a page of figures never fails.

use super::{Desk, api, queues};
use rabbit_reduce_core::message::{Answer, Ask};
use rabbit_reduce_runtime::http::metrics::Page;
use rabbit_reduce_runtime::standing::state;

/// The newest jobs, which are counted and told of.
const JOBS: u32 = 1000;
/// Jobs that have not ended, told of one by one.
const OPEN: usize = 100;

pub(super) async fn text(desk: &Desk) -> String {
    let mut page = Page::default();
    let mut reached = true;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut depths = Vec::new();
    for name in queues() {
        match desk.client.broker.depth(&name).await {
            Ok(Some(depth)) => depths.push((name, depth)),
            Ok(None) => {}
            Err(_) => {
                reached = false;
                break;
            }
        }
    }
    let label = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    let messages = depths.iter().map(|(name, depth)| (label("queue", name), i64::from(depth.messages)));
    page.gauges("queue_messages", "Messages that are ready in a queue", messages);
    let consumers = depths.iter().map(|(name, depth)| (label("queue", name), i64::from(depth.consumers)));
    page.gauges("queue_consumers", "Who takes from a queue; of map, workers", consumers);
    // Whoever reads figures does not wait for long: without a broker nobody is asked.
    let jobs = if reached { desk.ask(Ask::JobsBefore { before: None, limit: JOBS }).await.ok() } else { None };
    match jobs {
        Some(Answer::Jobs(jobs)) => {
            let states = api::states(&jobs).into_iter().map(|(state, jobs)| (label("state", state), jobs));
            page.gauges("jobs", "Jobs by state, of the newest thousand", states);
            let open: Vec<_> = jobs.iter().filter(|job| job.end.is_none()).take(OPEN).collect();
            let of = |job: &str, stage: &str| vec![("job", job.to_owned()), ("stage", stage.to_owned())];
            let done = open.iter().flat_map(|job| {
                let id = job.job.to_string();
                [(of(&id, "map"), number(job.covered.into())), (of(&id, "reduce"), number(job.finished.into()))]
            });
            page.gauges("job_done", "Chunks that are counted, partitions that are finished, of open jobs", done);
            let all = open.iter().flat_map(|job| {
                let id = job.job.to_string();
                let map = job.chunks.map(|chunks| (of(&id, "map"), number(chunks.into())));
                map.into_iter().chain([(of(&id, "reduce"), number(job.partitions.into()))])
            });
            page.gauges("job_all", "Chunks and partitions that there are", all);
            let bytes = open.iter().map(|job| (label("job", &job.job.to_string()), number(job.covered_bytes)));
            page.gauges("job_counted_bytes", "Input that is counted, in bytes", bytes);
            let losses = open.iter().map(|job| (label("job", &job.job.to_string()), number(job.losses.count)));
            page.gauges("job_losses", "What is not counted", losses);
            let states = open.iter().map(|job| {
                let labels =
                    [("job", job.job.to_string()), ("program", job.program.clone()), ("state", state(job).to_owned())];
                (labels.to_vec(), 1)
            });
            page.gauges("job_info", "Open jobs", states);
        }
        _ => reached = false,
    }
    if reached && let Ok(Answer::Workers(workers)) = desk.ask(Ask::Workers).await {
        let rates = workers.iter().map(|worker| (label("worker", &worker.name), number(worker.bytes_per_second)));
        page.gauges("worker_bytes_per_second", "Input that a worker maps, as it is seen here", rates);
    }
    page.gauges("up", "1 if the broker can be reached and an aggregator answers", [(Vec::new(), i64::from(reached))]);
    page.text()
}
