//! Results over HTTP: a page of rows, or all of them as a file, read out of the store.
//!
//! What would surprise: a page far behind costs what all before it cost, since rows are merged one by one; so few are read at once,
//! a page that is full stops the reading, and so does who takes nothing for a while.

use super::Desk;
use super::api::{Asked, Failed, id};
use crate::archive::{Archive, ArchiveError, JobFile};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::End;
use rabbit_reduce_core::output::{Order, OutputOptions, Selection, print_result, select};
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::rows::{Cell, RowSink};
use rabbit_reduce_core::spec::{ByteText, Source};
use rabbit_reduce_runtime::process::compute::{self, blocking};
use rabbit_reduce_runtime::process::start;
use rabbit_reduce_runtime::scratch::ScratchFolder;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::sync::mpsc;

/// Rows of a page, unless it is asked for others, and the most.
const ROWS: usize = 100;
const MOST_ROWS: usize = 1000;
/// What their text may be: longer ones end the page early.
const MOST_BYTES: usize = 8 << 20;
/// Who takes nothing for so long has left.
const STALLED: Duration = Duration::from_secs(60);
/// Of a file, handed over at once.
const PIECE_BYTES: usize = 64 << 10;

/// A result that is there.
struct Found {
    file: JobFile,
    end: End,
    names: Vec<Vec<u8>>,
}

impl From<ArchiveError> for Failed {
    fn from(error: ArchiveError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, start::chain(&error))
    }
}

fn find(archive: &Archive, job: JobId) -> Result<Found, Failed> {
    let unknown = || Failed(StatusCode::NOT_FOUND, "there is no such job (any more): see /api/v1/jobs".to_owned());
    if archive.is_removed(job)? {
        return Err(unknown());
    }
    let file = archive.job(job)?.ok_or_else(unknown)?;
    let end = archive.end(job)?.filter(|end| end.outcome.has_result());
    let end =
        end.ok_or_else(|| Failed(StatusCode::CONFLICT, "the job has no result (yet): see its state".to_owned()))?;
    let mut names = Vec::new();
    for page in 0..file.spec.sources.pages {
        let sources: Option<Vec<Source>> = archive.read(&Archive::sources_path(job, page))?;
        names.extend(sources.into_iter().flatten().map(|source| source.name.0));
    }
    Ok(Found { file, end, names })
}

impl Found {
    fn parts(&self, archive: &Archive) -> Result<Vec<Box<dyn Read + Send>>, Failed> {
        let part = |name: &String| {
            let path = format!("jobs/{}/{name}", self.file.spec.job);
            let gone = || Failed(StatusCode::CONFLICT, "the result was amended just now: ask again".to_owned());
            let opened = archive.store.open(&path, 0).map_err(ArchiveError::from)?.ok_or_else(gone)?;
            Ok(Box::new(BufReader::with_capacity(PIECE_BYTES, opened)) as Box<dyn Read + Send>)
        };
        self.end.parts.iter().map(|part_told| part(&part_told.name)).collect()
    }

    /// Changes whenever the result does.
    fn tag(&self, rest: &str) -> String {
        format!("\"{}-{}-{rest}\"", self.file.spec.job, self.end.version)
    }
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    offset: Option<usize>,
    limit: Option<usize>,
    search: Option<String>,
    prefix: Option<String>,
    sort: Option<String>,
}

pub(super) async fn page(
    State(desk): State<Desk>,
    Path(job): Path<String>,
    Asked(query): Asked<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let job = id(&job)?;
    let limit = query.limit.unwrap_or(ROWS).clamp(1, MOST_ROWS);
    let offset = query.offset.unwrap_or(0);
    let until = offset.saturating_add(limit).saturating_add(1);
    let order = match query.sort.as_deref() {
        None | Some("key") => Order::Key,
        Some("value") => Order::Value { top: NonZeroUsize::new(until) },
        Some(other) => {
            return Err(Failed(StatusCode::BAD_REQUEST, format!("sort is key or value, not {other}")));
        }
    };
    let (prefix, contains) = (query.prefix.unwrap_or_default().into(), query.search.unwrap_or_default().into());
    let selection = Selection { order, prefix, contains, least: 0 };
    let turn = desk.readers.acquire_owned().await;
    blocking(move || {
        let _turn = turn;
        let found = find(&desk.archive, job)?;
        let tag = found.tag("page");
        if knows(&headers, &tag) {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
        }
        let job = &found.file.program;
        selection.check(job).map_err(|error| Failed(StatusCode::BAD_REQUEST, error.to_string()))?;
        let mut rows = Rows { skip: offset, limit, rows: Vec::new(), bytes: 0, more: false };
        let scratch = ScratchFolder(desk.archive.scratch.clone());
        let selected = select(job, &found.names, found.parts(&desk.archive)?, &selection, &scratch, &mut rows);
        if let Err(error) = selected
            && !rows.more
        {
            return Err(Failed(StatusCode::SERVICE_UNAVAILABLE, format!("the result cannot be read: {error}")));
        }
        let body = json!({
            "columns": job.columns(),
            "rows": rows.rows,
            "offset": offset,
            "more": rows.more,
            "version": found.end.version,
        });
        Ok(([(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache".to_owned())], Json(body)).into_response())
    })
    .await
}

fn knows(headers: &HeaderMap, tag: &str) -> bool {
    headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag)
}

/// A page of rows; fails, with `more` set, where it is full.
struct Rows {
    skip: usize,
    limit: usize,
    rows: Vec<Value>,
    bytes: usize,
    more: bool,
}

impl RowSink for Rows {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        if self.rows.len() == self.limit || (self.bytes > MOST_BYTES && !self.rows.is_empty()) {
            self.more = true;
            return Err(io::Error::other("the page is full"));
        }
        let text = |bytes: &[u8]| json!(ByteText(bytes.to_vec()));
        let value = |cell: &Cell<'_>| match cell {
            Cell::Bytes(bytes) | Cell::Label(bytes) => text(bytes),
            Cell::Number(number) => json!(number),
            Cell::Decimal(decimal) => json!(decimal),
            Cell::List(list) => list.iter().map(|element| text(element)).collect(),
        };
        let row: Value = cells.iter().map(value).collect();
        self.bytes += row.to_string().len();
        self.rows.push(row);
        Ok(())
    }
}

/// All of it, as a file.
pub(super) async fn download(
    State(desk): State<Desk>,
    Path((job, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let no_such = || Failed(StatusCode::NOT_FOUND, format!("there is no {file} here: see docs/http.md"));
    let format: Format = file.strip_prefix("result.").and_then(|end| end.parse().ok()).ok_or_else(no_such)?;
    let kind = match format {
        Format::Tsv => "text/tab-separated-values",
        Format::Csv => "text/csv; charset=utf-8; header=present",
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
    };
    let job = id(&job)?;
    let turn = std::sync::Arc::clone(&desk.downloads).try_acquire_owned();
    let busy = |_| {
        Failed(StatusCode::SERVICE_UNAVAILABLE, "too many results are handed over just now: ask again later".to_owned())
    };
    let turn = turn.map_err(busy)?;
    let (archive, looking) = (desk.archive.clone(), desk.archive.clone());
    let found = blocking(move || find(&looking, job)).await?;
    let tag = found.tag(&file);
    if knows(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let (pieces, written) = mpsc::channel::<io::Result<Bytes>>(4);
    tokio::spawn(blocking(move || {
        let _turn = turn;
        let options = OutputOptions { format, ..OutputOptions::default() };
        let scratch = ScratchFolder(archive.scratch.clone());
        let mut out = BufWriter::with_capacity(PIECE_BYTES, Pieces(pieces.clone()));
        let printed = match found.parts(&archive) {
            Ok(parts) => print_result(&found.file.program, &found.names, parts, &options, &scratch, &mut out),
            Err(Failed(_, reason)) => Err(io::Error::other(reason)),
        };
        if let Err(error) = printed.and_then(|()| out.flush()) {
            tracing::warn!(%job, %error, "a result was not handed over to its end");
            // So that what is cut short does not look whole. Nobody may be there any more.
            drop(pieces.try_send(Err(error)));
        }
    }));
    let stream = futures_util::stream::unfold(written, async |mut written| {
        let piece = written.recv().await?;
        Some((piece, written))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    let header_value = |text: &str| HeaderValue::from_str(text).expect("ids and names of formats are plain");
    headers.insert(header::CONTENT_TYPE, header_value(kind));
    headers.insert(header::ETAG, header_value(&tag));
    headers.insert(header::CACHE_CONTROL, header_value("no-cache"));
    headers
        .insert(header::CONTENT_DISPOSITION, header_value(&format!("attachment; filename=\"{job}.{}\"", &file[7..])));
    Ok(response)
}

/// Hands over what is written to it.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        let sent = compute::wait(tokio::time::timeout(STALLED, self.0.send(piece)));
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes it any more");
        sent.ok().and_then(Result::ok).map(|()| bytes.len()).ok_or_else(gone)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
