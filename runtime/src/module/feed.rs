//! What an instance that reduces is given, and what it puts out, between its thread and that of the pairs.
//!
//! Both go in batches of bounded size. What would surprise: there are two threads since an instance asks for its values from
//! within a call, and can hold nothing that does not live as long as itself; one of them always waits for the other.

use super::guest::Held;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender};

/// Bytes of a batch, about; a single key or value may be longer.
const BATCH_BYTES: usize = 64 << 10;

/// Nobody is there any more.
#[derive(Debug)]
pub(super) struct Gone;

/// A key, and what its pairs share.
pub(super) type KeyAndGroup = (Vec<u8>, Vec<u8>);

/// What an item of a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A key begins.
    Key,
    /// What its pairs share.
    Group,
    /// A value of that key.
    Value,
}

/// Keys, each with its values behind it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    items: Vec<(Kind, usize)>,
    /// Nothing follows.
    pub(super) last: bool,
}

impl Batch {
    fn push(&mut self, kind: Kind, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.items.push((kind, self.bytes.len()));
    }

    /// A key begins.
    pub(super) fn key(&mut self, key: &[u8], group: &[u8]) {
        self.push(Kind::Key, key);
        self.push(Kind::Group, group);
    }

    /// And a value of it.
    pub(super) fn value(&mut self, value: &[u8]) {
        self.push(Kind::Value, value);
    }

    /// What it takes, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes.len() + self.items.len() * size_of::<(Kind, usize)>()
    }

    /// No more should go into it.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes() >= BATCH_BYTES
    }
}

/// What the thread of an instance says.
pub(super) enum Said {
    /// It has used up its batch.
    More,
    /// What was put out.
    Rows(Held),
}

/// The end of the instance.
pub(super) struct Feed {
    said: SyncSender<Said>,
    batches: Receiver<Batch>,
    batch: Batch,
    /// Items of the batch that are used up.
    used: usize,
    /// What is put out from now on is dropped.
    pub(super) muted: bool,
}

impl Feed {
    pub(super) fn new(said: SyncSender<Said>, batches: Receiver<Batch>) -> Self {
        Self { said, batches, batch: Batch::default(), used: 0, muted: false }
    }

    /// What comes next; `None` behind the last.
    fn item(&mut self) -> Result<Option<Kind>, Gone> {
        while self.used == self.batch.items.len() {
            if self.batch.last {
                return Ok(None);
            }
            self.said.send(Said::More).map_err(|_| Gone)?;
            self.batch = self.batches.recv().map_err(|_| Gone)?;
            self.used = 0;
        }
        Ok(Some(self.batch.items[self.used].0))
    }

    /// The bytes of what comes next.
    fn bytes(&self) -> &[u8] {
        let begin = self.used.checked_sub(1).map_or(0, |before| self.batch.items[before].1);
        &self.batch.bytes[begin..self.batch.items[self.used].1]
    }

    /// The next key, past values that nobody took, and what its pairs share.
    pub(super) fn key(&mut self) -> Result<Option<KeyAndGroup>, Gone> {
        while let Some(kind) = self.item()? {
            if kind == Kind::Key {
                let key = self.bytes().to_vec();
                // Both are in one batch.
                self.used += 1;
                let group = self.bytes().to_vec();
                self.used += 1;
                return Ok(Some((key, group)));
            }
            self.used += 1;
        }
        Ok(None)
    }

    /// The next value of the key.
    pub(super) fn value(&mut self) -> Result<Option<&[u8]>, Gone> {
        match self.item()? {
            Some(Kind::Value) => Ok(Some(self.bytes())),
            _ => Ok(None),
        }
    }

    /// That value was taken.
    pub(super) const fn taken(&mut self) {
        self.used += 1;
    }

    /// Hands on what was put out, if it is worth it, or all of it at the end of a key.
    pub(super) fn put_out(&mut self, held: &mut Held, all: bool) -> Result<(), Gone> {
        if self.muted {
            held.clear();
        } else if held.bytes() >= BATCH_BYTES || all && held.bytes() > 0 {
            self.said.send(Said::Rows(std::mem::take(held))).map_err(|_| Gone)?;
        }
        Ok(())
    }
}

impl From<Gone> for io::Error {
    fn from(_: Gone) -> Self {
        Self::other("nobody wants it any more")
    }
}
