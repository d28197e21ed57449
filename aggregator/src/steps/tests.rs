//! When a step begins, what it reads, and when it can have nothing to read.

use super::*;
use crate::ending;
use crate::folding::tests::job_file;
use rabbit_reduce_core::id::PartitionNumber;
use rabbit_reduce_core::message::{Losses, Part};
use rabbit_reduce_core::run::RunWriter;
use rabbit_reduce_core::spec::{ByteText, FileStamp, SourceList};
use rabbit_reduce_runtime::broker::embedded::EmbeddedBroker;
use uuid::Uuid;

const FIRST: JobId = JobId(Uuid::from_u128(1));
const SECOND: JobId = JobId(Uuid::from_u128(2));
const PART: Uuid = Uuid::from_u128(3);

/// Two steps that count words, of which nothing is known yet but what they are.
fn archive() -> Archive {
    let archive = Archive::of_tests();
    let rows = [Source::stream(b"step-1".to_vec())];
    let (sources, pages) = SourceList::of(&rows);
    archive.put_bytes(&Archive::sources_path(SECOND, 0), &pages[0]).unwrap();
    let first = Spec { job: FIRST, then: Some(SECOND), ..job_file().spec };
    let second = Spec { job: SECOND, after: Some(FIRST), sources, ..job_file().spec };
    for spec in [first, second] {
        archive.put(&Archive::spec_path(spec.job), &spec).unwrap();
    }
    archive
}

fn end(archive: &Archive, outcome: Outcome) {
    let mut end = ending::without_result(outcome, 1, Losses::default(), 0);
    if end.outcome.has_result() {
        let name = Archive::part_name(PartitionNumber(0), PART);
        end.parts = vec![Part { name, pairs: 1, bytes: 1, at: 1 }];
    }
    assert!(archive.put_end(FIRST, &end).unwrap());
}

fn put_part(archive: &Archive, bytes: &[u8]) {
    archive.store.put_new(&Archive::run_path(FIRST, PartitionNumber(0), PART), bytes).unwrap();
}

/// How a step ended that can have nothing to read.
fn reason(found: Found) -> String {
    match found {
        Found::Over(End { outcome: Outcome::Failed(reason), .. }, None) => reason,
        _ => panic!("it may go on"),
    }
}

#[test]
fn a_step_begins_once_when_the_one_before_has_a_result_and_again_when_asked() {
    let archive = archive();
    let is_work = |asked| matches!(archive.step(SECOND, asked).unwrap(), Found::Work(_));
    assert!(!is_work(false) && !is_work(true), "there is nothing to read yet");
    end(&archive, Outcome::Done);
    put_part(&archive, b"part");
    assert!(is_work(false));
    let found = archive.step(SECOND, false).unwrap();
    assert!(matches!(found, Found::Busy(_)), "somebody has begun, and nothing says that they died");
    assert!(is_work(true), "who asks for it gets it");
    archive.put_seal(SECOND, Seal { chunks: 3 }).unwrap();
    let Found::Work(work) = archive.step(SECOND, true).unwrap() else { panic!("some of it is not counted") };
    assert_eq!(work.chunks, Some((3, BTreeSet::from([0, 1, 2]))));
    assert!(matches!(archive.step(SECOND, false).unwrap(), Found::Nothing), "it is published");
    assert!(matches!(archive.step(FIRST, true).unwrap(), Found::Nothing), "the first step reads no result");
}

#[test]
fn a_step_with_nothing_to_read_fails_and_says_why() {
    let removed = archive();
    removed.remove(FIRST).unwrap();
    assert!(reason(removed.step(SECOND, false).unwrap()).contains("was removed: push its input again"));
    let failed = archive();
    end(&failed, Outcome::Failed("more than 3 losses".to_owned()));
    assert!(reason(failed.step(SECOND, false).unwrap()).ends_with("failed: more than 3 losses"));
    let cancelled = archive();
    end(&cancelled, Outcome::Cancelled);
    assert!(reason(cancelled.step(SECOND, false).unwrap()).ends_with("was cancelled"));
    let gone = archive();
    end(&gone, Outcome::Done);
    assert!(reason(gone.step(SECOND, false).unwrap()).contains("version 1 of the result"));
    // Ended, it stays so.
    assert!(matches!(gone.step(SECOND, true).unwrap(), Found::Nothing));
}

#[test]
fn a_step_whose_list_names_a_file_reads_the_rows_and_no_file() {
    let listed = |sources: &[Source]| {
        let archive = archive();
        archive.store.remove(&Archive::sources_path(SECOND, 0)).unwrap();
        archive.put_bytes(&Archive::sources_path(SECOND, 0), &SourceList::of(sources).1[0]).unwrap();
        end(&archive, Outcome::Done);
        put_part(&archive, b"part");
        archive.step(SECOND, false).unwrap()
    };
    let path = ByteText(b"/etc/hostname".to_vec());
    let file = Some(FileStamp { path, size: 1, modified_ns: 1 });
    let named = Source { file, ..Source::stream(b"step-1".to_vec()) };
    let Found::Work(work) = listed(std::slice::from_ref(&named)) else { panic!("it can be read") };
    assert_eq!(work.sources[..], [Source::stream(b"step-1".to_vec())]);
    assert_eq!(reason(listed(&[named.clone(), named])), "its list has 2 sources, and the rows before it are one");
}

#[test]
fn a_step_reads_the_version_that_was_put_down_whatever_came_later() {
    let archive = archive();
    end(&archive, Outcome::DoneWithLosses);
    put_part(&archive, b"part");
    assert!(matches!(archive.step(SECOND, false).unwrap(), Found::Work(_)));
    let amended = ending::without_result(Outcome::Done, 2, Losses::default(), 0);
    assert!(archive.put_end(FIRST, &amended).unwrap());
    let Found::Work(work) = archive.step(SECOND, true).unwrap() else { panic!("version 1 is still there") };
    assert_eq!(work.result.parts.len(), 1, "version 2 has none");
}

#[test]
fn a_result_is_kept_as_long_as_a_step_may_read_it() {
    let archive = archive();
    let first = archive.spec(FIRST).unwrap().unwrap();
    assert_eq!(archive.reader(&first).unwrap(), Some(SECOND));
    archive.end_without_result(SECOND, Outcome::Cancelled).unwrap();
    assert_eq!(archive.reader(&first).unwrap(), None);
    archive.remove(SECOND).unwrap();
    assert_eq!(archive.reader(&first).unwrap(), None);
}

/// What is read of a result with such parts.
async fn read(parts: Vec<Vec<u8>>) -> io::Result<String> {
    let parts = parts.into_iter().map(|part| Box::new(io::Cursor::new(part)) as Box<dyn Read + Send>).collect();
    let result = Printing { program: job_file().program, sources: Vec::new(), parts };
    let (blocks, rows) = mpsc::channel(1);
    let reading = blocking(move || {
        let mut text = String::new();
        let read = Rows { blocks: rows, block: Bytes::new(), ended: false }.read_to_string(&mut text);
        read.map(|_| text)
    });
    let (text, ()) = tokio::join!(reading, blocking(move || result.print(blocks)));
    text
}

fn part(pairs: impl Iterator<Item = String>) -> Vec<u8> {
    let mut writer = RunWriter::new(Vec::new()).unwrap();
    for key in pairs {
        writer.put(key.as_bytes(), &[1]).unwrap();
    }
    writer.finish().unwrap().0
}

/// Does blocking work at once, and lets others go on before that is told.
fn at_once(work: compute::Work) -> compute::Working {
    Box::pin(async move {
        work();
        tokio::task::yield_now().await;
    })
}

#[tokio::test]
async fn whoever_is_at_a_step_looks_again_if_something_came_of_it_meanwhile() {
    compute::simulate(Some(compute::Bench { work: at_once, wait: |_| unreachable!("nothing waits") }));
    let (archive, steps, shutdown) = (archive(), Steps::new(), Shutdown::new());
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::new());
    let go_on = || steps.go_on(archive.clone(), Arc::clone(&broker), &shutdown, SECOND, false);
    let (first, second) = tokio::join!(go_on(), async {
        // The other has looked, and found nothing to do.
        end(&archive, Outcome::Cancelled);
        go_on().await
    });
    compute::simulate(None);
    assert!(second.is_empty(), "somebody is at it");
    assert!(matches!(first[..], [Event::Ended(SECOND, Ok(Some(_)))]), "{} events", first.len());
    assert!(go_on().await.is_empty() && steps.going.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_printed_is_read_whole_or_not_at_all() {
    let words = |from: u32| (from..from + 100_000).map(|number| format!("{number:06}"));
    let parts = vec![part(words(0)), part(words(100_000))];
    let text = read(parts.clone()).await.unwrap();
    assert!(text.starts_with("000000\t1\n") && text.ends_with("199999\t1\n"), "{} bytes", text.len());
    assert_eq!(text.lines().count(), 200_000);
    // One that is cut short, and one that nobody prints to its end.
    let mut cut = parts;
    let length = cut[1].len() / 2;
    cut[1].truncate(length);
    assert!(read(cut).await.unwrap_err().to_string().contains("part 1 of the result"));
    let (blocks, rows) = mpsc::channel(1);
    blocks.send(Ok(Bytes::from_static(b"row\n"))).await.unwrap();
    drop(blocks);
    let mut rows = Rows { blocks: rows, block: Bytes::new(), ended: false };
    let read = blocking(move || rows.read_to_end(&mut Vec::new())).await;
    assert!(read.unwrap_err().to_string().contains("not printed to its end"));
}
