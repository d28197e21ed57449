//! What a child writes to its parent, which reads it whatever it is.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[path = "../../worker/src/frame.rs"]
mod frame;

/// What never waits is there at once: bytes in memory never keep anybody waiting.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for more than there is"),
    }
}

/// Frames, one after the other: what is read is what stands there, and a verdict reads back.
pub(crate) fn frame(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let before = rest;
        let (name, body) = match at_once(frame::read(&mut rest)) {
            Ok(frame) => frame,
            Err(error) => {
                assert!([io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData].contains(&error.kind()), "{error}");
                return;
            }
        };
        let mut again = Vec::new();
        frame::write(&mut again, &name, &body).expect("memory takes it");
        assert_eq!(again, before[..before.len() - rest.len()]);
        assert!(body.len() <= frame::MAX_BYTES);
        if name.is_empty()
            && let Ok(verdict) = serde_json::from_slice::<frame::Verdict>(&body)
        {
            let again = serde_json::to_vec(&verdict).expect("a verdict is plain data");
            assert_eq!(serde_json::from_slice::<frame::Verdict>(&again).expect("what was written"), verdict);
        }
    }
}
