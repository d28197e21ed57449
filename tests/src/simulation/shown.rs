//! A message in a few words, for the trace.
//!
//! What would surprise: what differs between two machines, such as paths, is left out.

use bytes::Bytes;
use rabbit_reduce_core::id::Origin;
use rabbit_reduce_core::message::{self, Failure, News, Partial, Reply, Request, Task};

/// A reason without the places where inputs happen to lie.
#[must_use]
pub fn without_paths(reason: &str) -> String {
    let words = reason.split(' ').map(|word| if word.contains('/') { "/…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// In a few words.
#[must_use]
pub fn shown(message: &Bytes) -> String {
    if let Ok((partial, body)) = message::decode::<Partial>(message) {
        let (origin, Partial { job, attempt, partition, segment, last, strikes, .. }) =
            (partial.unit().origin(), partial);
        let (end, bytes) = (if last { " last" } else { "" }, body.len());
        return format!(
            "partial {job} {origin}/{partition}/{segment}{end} attempt {attempt} strikes {strikes} {bytes} B"
        );
    }
    if let Ok((task, body)) = message::decode::<Task>(message) {
        let Task { job, chunk, record, attempt, crashes, rounds, .. } = task;
        let origin = Origin { chunk, record };
        return format!("task {job} {origin} attempt {attempt} crashes {crashes} rounds {rounds} {} B", body.len());
    }
    if let Ok((failure, _)) = message::decode::<Failure>(message) {
        let origin = Origin { chunk: failure.chunk, record: failure.retried };
        return format!("failure {} {origin}: {}", failure.job, without_paths(&failure.reason));
    }
    if let Ok((request, _)) = message::decode::<Request>(message) {
        let ask = format!("{:?}", request.ask);
        let name = ask.split([' ', '{', '(']).next().unwrap_or_default();
        return format!("request {} {name}", request.id);
    }
    if let Ok((reply, _)) = message::decode::<Reply>(message) {
        let answer = format!("{:?}", reply.answer);
        let name = answer.split([' ', '{', '(']).next().unwrap_or_default();
        return format!("reply {} {name}", reply.id);
    }
    message::decode::<News>(message)
        .map_or_else(|_| format!("{} bytes", message.len()), |(news, _)| format!("{news:?}"))
}
