//! The commands for dead letters: list, show, export, send again, drop what a job lost, or what belongs to no job.
//!
//! It asks and hands on; which letters are meant is decided in [`selection`], what is in them in [`opened`]. What would surprise:
//! letters are opened one at a time, so that however many there are, one of them is in memory.

pub mod export;
pub mod opened;
mod rereading;
mod retrying;
pub mod selection;

use self::export::{Export, ExportError};
use self::opened::{Contents, Opened};
use self::selection::{Fit, Listed, Selection, listed};
use crate::cli::{Action, Dead, Owner};
use crate::report::letters::{Extent, letters_text, opened_text};
use crate::report::letters_json::{letter_value, opened_value};
use crate::session::{Session, SessionError};
use crate::{failure, named, print_text, source_names};
use bytes::{Bytes, BytesMut};
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::{Answer, Ask, Letter, MAX_BODY_BYTES, MAX_HEADER_BYTES};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::skip::LostKey;
use rabbit_reduce_core::spec::ProgramSpec;
use rabbit_reduce_runtime::client::ClientError;
use rabbit_reduce_runtime::figures;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::Failure;
use rabbit_reduce_runtime::process::tell;
use rabbit_reduce_runtime::standing::json::pretty;
use rabbit_reduce_runtime::standing::letters::key_value;
use serde_json::Value;

/// Bytes of a letter that are asked for at once.
const PAGE_BYTES: u32 = 1 << 20;
/// The most bytes of a letter: a failure around a task, each with the longest header, and what messages begin with.
const MAX_LETTER_BYTES: usize = 2 * MAX_HEADER_BYTES + MAX_BODY_BYTES + 1024;
/// Letters that one request drops.
const DROPPED_AT_ONCE: usize = 500;

/// Does what was asked for.
///
/// # Errors
/// With the exit code that the failure means.
pub(crate) async fn execute(dead: Dead, programs: Programs, quiet: bool, shutdown: Shutdown) -> Result<Exit, Failure> {
    let Dead { broker, owner, selection, action } = dead;
    if let Action::Export { folder } = &action {
        export::check(folder).map_err(export_failure)?;
    }
    let session = crate::session(&broker, programs, quiet, shutdown).await?;
    let job = match owner {
        Owner::Job(job) => Some(named(job, &broker)?),
        Owner::Nobody => None,
    };
    let letters = Letters::of(session, job).await.map_err(failure)?;
    match action {
        Action::List { json } => letters.list(&selection, json).await,
        Action::Show { json, full } => letters.show(&selection, json, full).await,
        Action::Export { folder } => letters.export(&selection, folder).await,
        Action::Retry { detach } => letters.retry(&selection, detach).await,
        Action::Drop => letters.drop_them(&selection).await,
    }
}

/// The dead letters of a job, or those of none, and how to ask for them.
struct Letters {
    session: Session,
    job: Option<JobId>,
    program: Option<ProgramSpec>,
    /// Names of the job's sources.
    sources: Vec<Vec<u8>>,
}

impl Letters {
    async fn of(session: Session, job: Option<JobId>) -> Result<Self, SessionError> {
        let (program, sources) = match job {
            Some(job) => {
                let known = session.find(job).await?;
                (Some(known.spec.program.clone()), source_names(&known))
            }
            None => (None, Vec::new()),
        };
        Ok(Self { session, job, program, sources })
    }

    async fn list(&self, selection: &Selection, json: bool) -> Result<Exit, Failure> {
        let (letters, keys) = (self.selected(selection).await?, self.lost_keys(selection).await.map_err(failure)?);
        print_text(&if json {
            let letters = letters.iter().map(|listed| letter_value(listed, &self.sources));
            let values: Value = letters.chain(keys.iter().map(key_value)).collect();
            pretty(&values)
        } else {
            letters_text(&letters, &keys, &self.sources, clock::now_ms())
        })
    }

    async fn show(&self, selection: &Selection, json: bool, full: bool) -> Result<Exit, Failure> {
        let extent = if full { Extent::Full } else { Extent::Beginning };
        let (mut values, mut shown) = (Vec::new(), 0);
        for listed in self.selected(selection).await? {
            let Some(opened) = self.opened(listed).await? else { continue };
            let fits = |skip: &_| selection.fits_record(skip, &self.sources);
            if json {
                values.push(opened_value(&opened, &self.sources, fits));
            } else {
                let between = if shown == 0 { "" } else { "\n" };
                let text = opened_text(&opened, self.program.as_ref(), &self.sources, fits, extent, clock::now_ms());
                print_text(&format!("{between}{text}"))?;
            }
            shown += 1;
        }
        if json {
            return print_text(&pretty(&values.into()));
        }
        if shown == 0 {
            tell("there is no such dead letter");
        }
        Ok(Exit::Done)
    }

    async fn export(&self, selection: &Selection, folder: std::path::PathBuf) -> Result<Exit, Failure> {
        let letters = self.selected(selection).await?;
        let (shown, mut count) = (folder.display().to_string(), 0);
        let mut export = Export::begin(folder).map_err(export_failure)?;
        for listed in letters {
            let Some(opened) = self.opened(listed).await? else { continue };
            let fits = |skip: &_| selection.fits_record(skip, &self.sources);
            export.add(&opened, &self.sources, fits).map_err(export_failure)?;
            count += 1;
        }
        export.finish().map_err(export_failure)?;
        tell(&format!("{} exported to {shown}", figures::count(count, "dead letter is", "dead letters are")));
        Ok(Exit::Done)
    }

    async fn drop_them(&self, selection: &Selection) -> Result<Exit, Failure> {
        let letters = self.selected(selection).await?;
        for some in letters.chunks(DROPPED_AT_ONCE) {
            let names = some.iter().map(|listed| listed.letter.name.clone()).collect();
            self.session.ask(Ask::Drop { job: self.job, names }, &[]).await.map_err(failure)?;
        }
        let count = figures::count(letters.len() as u64, "dead letter is", "dead letters are");
        tell(&match (self.job, letters.is_empty()) {
            (_, true) => "there is no such dead letter: nothing is dropped".to_owned(),
            (Some(job), _) => format!("{count} dropped; what of job {job} was lost stays lost"),
            (None, _) => format!("{count} dropped"),
        });
        Ok(Exit::Done)
    }

    /// Keys that the job's result lacks: they have no letters, since their values are kept where all others are.
    async fn lost_keys(&self, selection: &Selection) -> Result<Vec<LostKey>, SessionError> {
        let Some(job) = self.job else { return Ok(Vec::new()) };
        let status = self.session.status(job).await?;
        let losses = retrying::losses(&status);
        if retrying::is_cut_short(losses) && selection.is_of_any_chunk() {
            tell("more is lost than can be listed: keys may be missing here");
        }
        let mut keys = losses.keys.clone();
        keys.retain(|key| selection.fits_key(key));
        Ok(keys)
    }

    /// The letters that are meant.
    async fn selected(&self, selection: &Selection) -> Result<Vec<Listed>, Failure> {
        let letters = listed(self.all().await.map_err(failure)?);
        selection.check_names(&letters).map_err(|error| Failure::new(Exit::Failed, error))?;
        let mut selected = Vec::new();
        for listed in letters {
            match selection.fit(&listed.letter, &self.sources) {
                Fit::Yes => selected.push(listed),
                Fit::No => {}
                Fit::Open => {
                    if let Some(Opened { listed, contents: Contents::Chunk(chunk) }) = self.opened(listed).await?
                        && chunk.pieces.iter().any(|(piece, _)| selection.has_source(&piece.name.0))
                    {
                        selected.push(listed);
                    }
                }
            }
        }
        Ok(selected)
    }

    /// All letters, in the order of their names, page by page.
    async fn all(&self) -> Result<Vec<Letter>, SessionError> {
        let mut all: Vec<Letter> = Vec::new();
        loop {
            let after = all.last().map(|letter| letter.name.clone()).unwrap_or_default();
            let (Answer::Letters { letters, more }, _) =
                self.session.ask(Ask::Letters { job: self.job, after }, &[]).await?
            else {
                return Err(ClientError::Confused.into());
            };
            let any = !letters.is_empty();
            all.extend(letters);
            match (more, any) {
                (false, _) => return Ok(all),
                (true, true) => {}
                (true, false) => return Err(ClientError::Confused.into()),
            }
        }
    }

    /// A letter with its contents; `None` if somebody dropped it meanwhile.
    async fn opened(&self, listed: Listed) -> Result<Option<Opened>, Failure> {
        match self.bytes(&listed.letter.name).await {
            Ok(bytes) => Ok(Some(Opened { contents: Contents::of(&bytes), listed })),
            Err(SessionError::Client(ClientError::Unknown)) => {
                self.session.screen.say(&format!("the dead letter {} was dropped meanwhile", listed.short));
                Ok(None)
            }
            Err(error) => Err(failure(error)),
        }
    }

    async fn bytes(&self, name: &str) -> Result<Bytes, SessionError> {
        let mut bytes = BytesMut::new();
        loop {
            let ask =
                Ask::Letter { job: self.job, name: name.to_owned(), offset: bytes.len() as u64, length: PAGE_BYTES };
            let (Answer::Bytes { more }, page) = self.session.ask(ask, &[]).await? else {
                return Err(ClientError::Confused.into());
            };
            bytes.extend_from_slice(&page);
            if !more {
                return Ok(bytes.freeze());
            }
            if page.is_empty() || bytes.len() > MAX_LETTER_BYTES {
                return Err(ClientError::Confused.into());
            }
        }
    }
}

fn export_failure(error: ExportError) -> Failure {
    Failure::new(Exit::InputOutput, error)
}
