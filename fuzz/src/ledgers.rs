//! What is stored as JSON: specs, lists of sources, entries of a ledger.

use rabbit_reduce_core::id::{ChunkNumber, Unit};
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::ledger::append::{Append, Event, Record, Step};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::spec::{MAX_CHUNKS, Source, SourceList, Spec};

/// A spec that is read and passes its checks reads back.
pub(crate) fn spec(bytes: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Spec>(bytes) else { return };
    drop(spec.check(&Programs::built_in()));
    let again = serde_json::to_vec(&spec).expect("specs are plain data");
    assert_eq!(serde_json::from_slice::<Spec>(&again).expect("what was written"), spec);
}

/// A page of a list of sources reads back, in pages of its own.
pub(crate) fn sources(bytes: &[u8]) {
    let Ok(sources) = serde_json::from_slice::<Vec<Source>>(bytes) else { return };
    // The sizes of files that lie may not add up to a number.
    if sources.iter().filter_map(|source| source.file.as_ref()).any(|file| file.size > 1 << 40) {
        return;
    }
    let (list, pages) = SourceList::of(&sources);
    assert_eq!(list.digest, SourceList::digest(&pages));
    let read = pages.iter().flat_map(|page| serde_json::from_slice::<Vec<Source>>(page).expect("what was written"));
    assert_eq!(read.collect::<Vec<_>>(), sources);
}

/// Records, a line each, put into a log one after the other if they are valid: the state then agrees with itself.
pub(crate) fn ledger(bytes: &[u8]) {
    let (chunks, mut ledger) = (bytes.first().map(|&byte| u32::from(byte)), Ledger::default());
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(record) = serde_json::from_slice::<Record>(line) else { continue };
        let (before, entry) = (ledger.next(), record.entry.clone());
        let append = Append::new(record, chunks);
        match append.next(&mut ledger, Event::Begin) {
            Step::Put(number) => {
                assert_eq!(number, before);
                assert_eq!(append.next(&mut ledger, Event::Created), Step::Appended);
            }
            // What another wrote is applied as it is.
            Step::GaveUp(_) => ledger.apply(&entry),
            step => panic!("the first step is never {step:?}"),
        }
        assert_eq!(ledger.next(), before + 1);
    }
    let whole = ledger.chunks().filter(|counted| counted.whole).count();
    assert_eq!(u64::from(ledger.whole()), whole as u64);
    let unit = Unit { chunk: ChunkNumber(0), record: None, segment: 0, last: true };
    assert!(ledger.covers(unit) || !ledger.covers_chunk(unit.chunk));
    let decided = |chunk: u32| {
        ledger.covers_chunk(ChunkNumber(chunk)) || ledger.lost().any(|(lost, _)| lost == ChunkNumber(chunk))
    };
    for chunks in [0, 1, 5, chunks.unwrap_or(9)] {
        let open = ledger.retrying_records().next().is_some();
        assert_eq!(ledger.complete(chunks), !open && (0..chunks).all(decided), "{chunks}");
    }
    let (_, _, _) =
        (ledger.skipped(), ledger.home_bytes(), u32::try_from(MAX_CHUNKS).map(|most| ledger.complete(most)));
}
