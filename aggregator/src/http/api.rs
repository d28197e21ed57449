//! Questions over HTTP into questions to the aggregators, and their answers into JSON.
//!
//! It decides nothing and reads no store.

use super::{Desk, asked, queues};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, OriginalUri, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use rabbit_reduce_core::id::{ChunkNumber, JobId, SourceNumber};
use rabbit_reduce_core::message::{Answer, Ask, Letter, LetterKind, PutBack, RecordState, SeenWorker, Status};
use rabbit_reduce_core::skip::{Place, Skip};
use rabbit_reduce_core::spec::Source;
use rabbit_reduce_runtime::client::{Client, ClientError};
use rabbit_reduce_runtime::http::guard;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::standing::json::status_value;
use rabbit_reduce_runtime::standing::letters::letter_value;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Jobs in an answer, unless it is asked for fewer, and the most.
const LISTED_JOBS: u32 = 100;
/// One more is asked for, to see whether there are any.
const MOST_JOBS: u32 = 999;
/// Keys in an answer, unless it is asked for others.
const TOP: u32 = 20;
/// Chunks or records that one question sends again.
const RETRIED_AT_ONCE: usize = 500;
/// Pages of letters that are looked through for what to send again.
const LETTER_PAGES: usize = 100;

/// Why there is no answer.
pub(super) struct Failed(pub(super) StatusCode, pub(super) String);

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        let status = match &error {
            ClientError::Unknown => StatusCode::NOT_FOUND,
            ClientError::Refused(_) => StatusCode::CONFLICT,
            ClientError::Broker(_) | ClientError::Nobody | ClientError::Blocked(_) | ClientError::Waits(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ClientError::Confused => StatusCode::BAD_GATEWAY,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        guard::error(self.0, &self.1)
    }
}

/// What a query asks for; an answer in JSON where it cannot be read.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| Failed(error.status(), error.body_text()))
    }
}

/// What is not there.
pub(super) async fn nothing(OriginalUri(uri): OriginalUri) -> Failed {
    Failed(StatusCode::NOT_FOUND, format!("there is no {}: see /api/v1/openapi.json", uri.path()))
}

/// What is there, and is asked for otherwise.
pub(super) async fn otherwise(OriginalUri(uri): OriginalUri) -> Failed {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Failed(status, format!("{} is asked for by another method: see /api/v1/openapi.json", uri.path()))
}

type Answered = Result<Json<Value>, Failed>;

/// The answer is another than was asked for.
fn confused() -> Failed {
    ClientError::Confused.into()
}

/// A job's id out of a path.
pub(super) fn id(text: &str) -> Result<JobId, Failed> {
    text.parse().map_err(|_| Failed(StatusCode::NOT_FOUND, format!("`{text}` is no job: see /api/v1/jobs")))
}

#[derive(Deserialize)]
pub(super) struct JobsQuery {
    limit: Option<u32>,
    before: Option<String>,
}

pub(super) async fn jobs(State(desk): State<Desk>, Asked(query): Asked<JobsQuery>) -> Answered {
    let limit = query.limit.unwrap_or(LISTED_JOBS).clamp(1, MOST_JOBS);
    let before = query.before.as_deref().map(id).transpose()?;
    let Answer::Jobs(jobs) = desk.ask(Ask::JobsBefore { before, limit: limit + 1 }).await? else {
        return Err(confused());
    };
    let more = jobs.len() > limit as usize;
    let jobs: Value = jobs.iter().take(limit as usize).map(|status| status_value(status, &[])).collect();
    Ok(Json(json!({ "jobs": jobs, "more": more })))
}

pub(super) async fn job(State(desk): State<Desk>, Path(job): Path<String>) -> Answered {
    let status = status(&desk, id(&job)?).await?;
    let losses = status.end.as_ref().map_or(&status.losses, |end| &end.losses);
    let names = names(&desk, status.job, losses.records.iter().map(|skip| skip.source)).await?;
    Ok(Json(status_value(&status, &names)))
}

async fn status(desk: &Desk, job: JobId) -> Result<Status, Failed> {
    match desk.ask(Ask::Status { job, detail: true }).await? {
        Answer::Status(status) => Ok(*status),
        _ => Err(confused()),
    }
}

/// The names of a job's sources, if any of them is to be named.
async fn names(desk: &Desk, job: JobId, mut named: impl Iterator<Item = SourceNumber>) -> Result<Vec<Vec<u8>>, Failed> {
    if named.next().is_none() {
        return Ok(Vec::new());
    }
    let Answer::Spec { spec, .. } = desk.ask(Ask::Spec { job }).await? else { return Err(confused()) };
    let mut names = Vec::new();
    for page in 0..spec.sources.pages {
        let (answer, page) = asked(&desk.client, Ask::Sources { job, page }).await?;
        let Answer::Bytes { .. } = answer else { return Err(confused()) };
        let sources: Vec<Source> = serde_json::from_slice(&page).map_err(|_| confused())?;
        names.extend(sources.into_iter().map(|source| source.name.0));
    }
    Ok(names)
}

#[derive(Deserialize)]
pub(super) struct TopQuery {
    limit: Option<u32>,
}

pub(super) async fn top(State(desk): State<Desk>, Path(job): Path<String>, Asked(query): Asked<TopQuery>) -> Answered {
    let ask = Ask::Top { job: id(&job)?, limit: query.limit.unwrap_or(TOP) };
    let Answer::Top(top) = desk.ask(ask).await? else { return Err(confused()) };
    let rows: Value = top.rows.iter().map(|(key, count)| json!([key, count])).collect();
    Ok(Json(json!({ "rows": rows, "counted_chunks": top.counted, "chunks": top.chunks, "exact": top.whole })))
}

#[derive(Deserialize)]
pub(super) struct LettersQuery {
    after: Option<String>,
}

pub(super) async fn letters(
    State(desk): State<Desk>,
    Path(job): Path<String>,
    Asked(query): Asked<LettersQuery>,
) -> Answered {
    let job = id(&job)?;
    let (letters, more) = letters_after(&desk, job, query.after.unwrap_or_default()).await?;
    let names = names(&desk, job, letters.iter().flat_map(|letter| letter.sources.iter().copied())).await?;
    let letters: Value = letters.iter().map(|letter| letter_value(letter, &names)).collect();
    Ok(Json(json!({ "letters": letters, "more": more })))
}

async fn letters_after(desk: &Desk, job: JobId, after: String) -> Result<(Vec<Letter>, bool), Failed> {
    match desk.ask(Ask::Letters { job: Some(job), after }).await? {
        Answer::Letters { letters, more } => Ok((letters, more)),
        _ => Err(confused()),
    }
}

pub(super) async fn cancel(State(desk): State<Desk>, Path(job): Path<String>) -> Answered {
    let job = id(&job)?;
    desk.ask(Ask::Cancel { job }).await?;
    Ok(Json(status_value(&status(&desk, job).await?, &[])))
}

pub(super) async fn remove(State(desk): State<Desk>, Path(job): Path<String>) -> Answered {
    desk.ask(Ask::Remove { job: id(&job)? }).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
pub(super) struct Names {
    names: Vec<String>,
}

pub(super) async fn drop_letters(
    State(desk): State<Desk>,
    Path(job): Path<String>,
    names: Result<Json<Names>, JsonRejection>,
) -> Answered {
    let Json(Names { names }) = names.map_err(|error| Failed(error.status(), error.body_text()))?;
    desk.ask(Ask::Drop { job: Some(id(&job)?), names }).await?;
    Ok(Json(json!({})))
}

/// Sends again what is lost: chunks, records that are letters, keys.
pub(super) async fn retry(State(desk): State<Desk>, Path(job): Path<String>) -> Answered {
    let job = id(&job)?;
    let status = status(&desk, job).await?;
    let losses = status.end.as_ref().map_or(&status.losses, |end| &end.losses);
    let chunks: Vec<ChunkNumber> = losses.chunks.iter().map(|lost| lost.chunk).collect();
    let KeptRecords { lost: records, kept } = kept_records(&desk, job).await?;
    let gone = losses.records.iter().filter(|skip| !kept.contains(&skip.place()));
    let (mut sent, mut under_way) = (0, 0);
    let mut refused: Vec<String> = gone.map(not_kept).collect();
    // As many as one question may be about.
    let chunks = chunks.chunks(RETRIED_AT_ONCE).map(|chunks| (chunks.to_vec(), Vec::new()));
    let records = records.chunks(RETRIED_AT_ONCE).map(|records| (Vec::new(), records.to_vec()));
    for (chunks, records) in chunks.chain(records) {
        let Answer::Retried { chunks: again, under_way: before, refused: not, records } =
            desk.ask(Ask::Retry { job, chunks, records }).await?
        else {
            return Err(confused());
        };
        sent += again.len();
        under_way += before.len();
        refused.extend(not.into_iter().map(|(chunk, reason)| format!("chunk {chunk}: {reason}")));
        for (chunk, place, became) in records {
            match became {
                PutBack::Sent => sent += 1,
                PutBack::UnderWay => under_way += 1,
                PutBack::Refused(reason) => {
                    refused.push(format!("record at byte {} of chunk {chunk}: {reason}", place.offset));
                }
            }
        }
    }
    if losses.count > (losses.chunks.len() + losses.records.len() + losses.keys.len()) as u64 {
        refused.push("there are more losses than one answer lists: send again what is left afterwards".to_owned());
    }
    if !losses.keys.is_empty() {
        match desk.ask(Ask::Rereduce { job }).await {
            Ok(Answer::Rereduced(partitions)) => {
                sent += partitions.iter().map(|partition| partition.keys as usize).sum::<usize>();
            }
            Ok(_) => return Err(confused()),
            Err(error) => refused.push(format!("keys: {error}")),
        }
    }
    Ok(Json(json!({ "sent": sent, "under_way": under_way, "refused": refused })))
}

/// Why a record cannot be sent again.
fn not_kept(skip: &Skip) -> String {
    let Place { source, offset } = skip.place();
    format!(
        "record at byte {offset} of source {source}: no letter has its bytes; mend the input and push it as a job of its own"
    )
}

/// Records that were not counted with their chunks, and have a letter.
struct KeptRecords {
    /// Those that are lost.
    lost: Vec<(ChunkNumber, Place)>,
    /// All of them, also what is sent again or counted by now.
    kept: BTreeSet<Place>,
}

async fn kept_records(desk: &Desk, job: JobId) -> Result<KeptRecords, Failed> {
    let (mut records, mut kept, mut after) = (Vec::new(), BTreeSet::new(), String::new());
    for _ in 0..LETTER_PAGES {
        let (letters, more) = letters_after(desk, job, after).await?;
        for letter in &letters {
            let (Some(chunk), LetterKind::Records(skips)) = (letter.chunk, &letter.kind) else { continue };
            kept.extend(skips.iter().map(Skip::place));
            let lost = skips.iter().zip(&letter.records).filter(|(_, state)| **state == RecordState::Lost);
            records.extend(lost.map(|(skip, _)| (chunk, skip.place())));
        }
        let Some(last) = letters.into_iter().next_back().filter(|_| more) else { break };
        after = last.name;
    }
    records.sort();
    records.dedup();
    Ok(KeptRecords { lost: records, kept })
}

pub(super) async fn broker(State(desk): State<Desk>) -> Answered {
    Ok(Json(broker_value(&desk.client).await?))
}

/// The queues, and whoever works on them.
pub(super) async fn broker_value(client: &Client) -> Result<Value, ClientError> {
    let mut depths = Vec::new();
    for name in queues() {
        if let Some(depth) = client.broker.depth(&name).await? {
            depths.push(json!({ "name": name, "messages": depth.messages, "consumers": depth.consumers }));
        }
    }
    let (Answer::Workers(workers), _) = asked(client, Ask::Workers).await? else {
        return Err(ClientError::Confused);
    };
    let now = clock::now_ms();
    let worker = |worker: &SeenWorker| {
        json!({
            "name": worker.name,
            "chunks": worker.chunks,
            "bytes": worker.bytes,
            "bytes_per_second": worker.bytes_per_second,
            "seen_ms": now.saturating_sub(worker.silent_ms),
        })
    };
    Ok(json!({ "queues": depths, "workers": workers.iter().map(worker).collect::<Value>() }))
}

/// How many jobs of a list there are in each state.
pub(super) fn states(jobs: &[Status]) -> BTreeMap<&'static str, i64> {
    let mut states = BTreeMap::new();
    jobs.iter().for_each(|job| *states.entry(rabbit_reduce_runtime::standing::state(job)).or_default() += 1);
    states
}
