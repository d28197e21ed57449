//! What is stored, or sent as an answer, for people to see: ends of jobs, dead letters in short, notes beside kept messages.

use rabbit_reduce_core::message::{End, Letter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

#[path = "../../aggregator/src/note.rs"]
mod note;

/// What is read reads back.
fn reads_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return };
    let again = serde_json::to_vec(&value).expect("it is plain data");
    assert_eq!(serde_json::from_slice::<T>(&again).expect("what was written"), value);
}

pub(crate) fn end(bytes: &[u8]) {
    reads_back::<End>(bytes);
}

pub(crate) fn letter(bytes: &[u8]) {
    reads_back::<Letter>(bytes);
}

pub(crate) fn note(bytes: &[u8]) {
    reads_back::<note::Note>(bytes);
}
