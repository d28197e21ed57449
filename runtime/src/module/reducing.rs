//! A partition through a module, key by key.
//!
//! What would surprise: the module has a thread of its own, since it asks for its values from within a call; and once a key has
//! failed, the others are only tried, as all of it is made anew without that key.

use super::feed::{Batch, Feed, Gone, Said};
use super::guest::{CallError, Terms};
use super::{ModuleProgram, Running};
use crate::reduced::{Flow, Reduced};
use rabbit_reduce_core::counting::{self, Counters, count};
use rabbit_reduce_core::job::{PairTaker, ProgramFailed};
use rabbit_reduce_core::map::MapError;
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::program::ReducePlace;
use rabbit_reduce_core::skip::{LOST_KEYS, LostKey};
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How often it is looked at whether anybody still wants it.
const LOOK: Duration = Duration::from_millis(200);

/// Gives the module all keys, and hands on what it puts out, in order of keys.
pub(super) fn reduce(
    program: &ModuleProgram,
    at: &ReducePlace<'_>,
    pairs: &mut dyn PairSource,
    out: &mut PairTaker<'_>,
) -> io::Result<()> {
    let (said, hears) = sync_channel(1);
    let (gives, batches) = sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let mut reduced = Reduced::new(&program.placed, at);
    let (fed, lost) = std::thread::scope(|scope| {
        let running = program.running();
        let terms = Terms { stop: Arc::clone(&stop), ..running.terms.clone() };
        let feed = Feed::new(said, batches);
        let working = scope.spawn(move || keys(running, &terms, feed));
        let given = Given { program, pairs, key: None };
        let fed = feed_it(given, &gives, &hears, at, &mut reduced);
        if fed.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        // Whoever waits for one of us hears that nobody is there.
        drop((gives, hears));
        (fed, working.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    fed?;
    match lost {
        Ok((lost, counted)) if lost.is_empty() => {
            counted.iter().for_each(|(name, more)| count(name, *more));
            reduced.drain(out)
        }
        Ok((lost, _)) => Err(ProgramFailed::on(lost).into()),
        Err(error) => Err(ProgramFailed::wholly(error.reason()).into()),
    }
}

/// The keys that the module cannot reduce, and what it has counted.
fn keys(running: &Running, terms: &Terms, mut feed: Feed) -> Result<(Vec<LostKey>, Counters), CallError> {
    let (mut lost, mut counted, mut guest) = (Vec::new(), Counters::new(), None);
    while lost.len() <= LOST_KEYS
        && let Some((key, group)) = feed.key().map_err(|Gone| CallError::Stopped)?
    {
        let mut working = match guest.take() {
            Some(working) => working,
            None => running.begin_with(terms)?,
        };
        let (back, reduced) = working.reduce(&key, feed);
        feed = back;
        let reason = match reduced {
            Ok(refused) => {
                working.counts().iter().for_each(|(name, more)| counting::add(&mut counted, name, *more));
                guest = Some(working);
                refused
            }
            Err(CallError::Stopped) => return Err(CallError::Stopped),
            Err(error) => Some(error.reason()),
        };
        if let Some(reason) = reason {
            feed.muted = true;
            lost.push(LostKey::new(&group, key, format!("the reduce failed: {reason}")));
        }
    }
    Ok((lost, counted))
}

/// Gives batches and takes rows until nobody asks any more.
fn feed_it(
    mut given: Given<'_>,
    gives: &SyncSender<Batch>,
    hears: &Receiver<Said>,
    at: &ReducePlace<'_>,
    reduced: &mut Reduced<'_>,
) -> io::Result<()> {
    let mut flow = Flow::new(at);
    let failed = |error: MapError| match error {
        MapError::Scratch(error) => error,
        error => ProgramFailed::wholly(format!("the module, partition {}: {error}", at.partition)).into(),
    };
    loop {
        let said = hears.recv_timeout(LOOK);
        if (at.stops)() {
            return Err(Gone.into());
        }
        match said {
            Ok(Said::More) => {
                let batch = given.batch()?;
                flow.given(batch.bytes());
                if gives.send(batch).is_err() {
                    return Ok(());
                }
            }
            Ok(Said::Rows(rows)) => {
                flow.taken(rows.bytes()).map_err(failed)?;
                for (key, value) in rows.iter() {
                    reduced.add(key, value).map_err(failed)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// The pairs of a partition on their way into batches.
struct Given<'p> {
    program: &'p ModuleProgram,
    pairs: &'p mut dyn PairSource,
    /// All of the key but its place, of which values are given.
    key: Option<Vec<u8>>,
}

impl Given<'_> {
    fn batch(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let format = &self.program.mapped.0;
        while !batch.is_full() {
            let Some((inner, value)) = self.pairs.next()? else {
                batch.last = true;
                break;
            };
            let together = format.without_place(inner);
            if self.key.as_deref() != Some(together) {
                let key = format.key_of(inner);
                let key = key.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a pair has no key"))?;
                batch.key(&key, together);
                self.key = Some(together.to_vec());
            }
            batch.value(value);
        }
        Ok(batch)
    }
}
