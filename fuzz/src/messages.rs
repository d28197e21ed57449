//! Messages: whole ones as they come from a queue, and headers alone, which a fuzzer reaches only when it need not forge a checksum.

use bytes::Bytes;
use rabbit_reduce_core::message::{self, Failure, Kind, News, Partial, Refused, Reply, Request, Task};
use std::fmt::Debug;

/// Kinds of messages, and a number that is none.
const KINDS: u8 = 8;

/// What a message says reads back, once it is read.
fn of_kind<K: Kind + Debug + PartialEq>(message: &Bytes) {
    let Ok((header, body)) = message::decode::<K>(message) else { return };
    assert_eq!(message::kind(message), Ok(K::NUMBER));
    let Ok(again) = message::try_encode(&header, &body) else { return };
    assert_eq!(message::decode::<K>(&again), Ok((header, body)));
}

fn of_all_kinds(message: &Bytes) {
    of_kind::<Task>(message);
    of_kind::<Partial>(message);
    of_kind::<Failure>(message);
    of_kind::<Request>(message);
    of_kind::<Reply>(message);
    of_kind::<News>(message);
    of_kind::<Refused>(message);
    // What passes the checks of who receives it can be sent on.
    if let Ok((task, body)) = message::decode::<Task>(message)
        && task.check().is_ok()
        && task.pieces.len() < 100
    {
        assert!(message::try_encode(&Task { crashes: 3, attempt: 5, rounds: 4, ..task }, &body).is_ok());
    }
    if let Ok((partial, body)) = message::decode::<Partial>(message)
        && partial.check().is_ok()
    {
        assert!(message::try_encode(&Partial { strikes: 3, ..partial }, &body).is_ok());
    }
    if let Ok((failure, body)) = message::decode::<Failure>(message)
        && failure.check().is_ok()
    {
        assert!(failure.reason.len() < 2000 && message::try_encode(&failure, &body).is_ok());
    }
    if let Ok((refused, body)) = message::decode::<Refused>(message)
        && refused.check().is_ok()
    {
        assert!(refused.records.len() <= 100 && message::try_encode(&refused, &body).is_ok());
    }
    assert!(message::job(message).is_none() || message::kind(message).is_ok());
}

/// Bytes as they come.
pub(crate) fn any(bytes: &[u8]) {
    of_all_kinds(&Bytes::copy_from_slice(bytes));
}

/// A kind, a length of the body, and a header: made into a message whose lengths and checksum are right.
pub(crate) fn header(bytes: &[u8]) {
    let [kind, body, header @ ..] = bytes else { return };
    let (header, body) = (header, vec![0x5a; usize::from(*body)]);
    for version in [message::FIRST_VERSION, message::VERSION] {
        of_all_kinds(&sealed(version, *kind % KINDS, header, &body));
    }
}

fn sealed(version: u8, kind: u8, header: &[u8], body: &[u8]) -> Bytes {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let prelude = [b"RR".as_slice(), &[version, kind], &length(header), &length(body)].concat();
    let checksum = message::checksum(&prelude, header, body).to_le_bytes();
    [&prelude, checksum.as_slice(), header, body].concat().into()
}
