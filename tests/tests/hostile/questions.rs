//! Questions to the aggregators that nobody asks: each is answered no, or not at all, and costs nothing.

use super::{expected, stranger, text};
use rabbit_reduce_core::message::{self, Answer, Ask, Outcome, Request};
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_producer::session::SessionError;
use rabbit_reduce_runtime::client::ClientError;
use rabbit_reduce_tests::cluster::{Cluster, Order};
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::wait::within;
use uuid::Uuid;

crate::world::on_both_brokers! {
    questions_that_nobody_asks_are_answered_no
}

async fn questions_that_nobody_asks_are_answered_no(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let report = cluster.run(&Order::of("word-count"), &text()).await;
    let job = report.job;
    let part = |part: &str, offset| Ask::Part { job, part: part.to_owned(), offset, length: u32::MAX };
    let name = &report.end.parts[0].name;
    let refused = [
        Ask::Seal { job, chunks: u32::MAX },
        Ask::Uncovered { job, chunks: u32::MAX },
        part("../../id", 0),
        part("runs/../../../id", 0),
        part("runs/0000/../../spec.json", 0),
        part("/etc/passwd", 0),
        part(name, u64::MAX),
        Ask::Sources { job, page: u32::MAX },
        Ask::Status { job: stranger(), detail: true },
    ];
    for ask in refused {
        let answer = within("an answer", session.ask(ask.clone(), &[])).await;
        let no = matches!(answer, Err(SessionError::Client(ClientError::Refused(_) | ClientError::Unknown)));
        assert!(no, "{ask:?}: {answer:?}");
    }
    let page = within("a page", session.ask(part(name, 0), &[])).await.unwrap();
    assert!(matches!(page, (Answer::Bytes { more: false }, _)), "a length beyond all is cut");
    // A spec of four billion pages, of a job whose sources nobody put.
    let mut spec = within("the spec", session.ask(Ask::Spec { job }, &[])).await.unwrap().0;
    if let Answer::Spec { spec, .. } = &mut spec {
        spec.job = stranger();
        (spec.sources.pages, spec.sources.count) = (u32::MAX, u32::MAX);
        let answer = within("an answer", session.ask(Ask::Submit { spec: spec.clone() }, &[])).await;
        assert!(matches!(answer, Err(SessionError::Client(ClientError::Refused(_)))), "{answer:?}");
    }
    // Answers do not go where work is.
    let namespace = cluster.crew.home.topology.namespace.clone();
    for reply_to in [queue::MAP.to_owned(), format!("{namespace}.map"), "x".repeat(1 << 20), String::new()] {
        let request = Request { id: Uuid::new_v4(), reply_to, expires_ms: u64::MAX, ask: Ask::Jobs };
        cluster.crew.home.store(queue::CONTROL, message::encode(&request, b"")).await;
    }
    let report = cluster.run(&Order::of("word-count"), &text()).await;
    assert_eq!((report.end.outcome, String::from_utf8(report.tsv).unwrap()), (Outcome::Done, expected()));
    assert_eq!(cluster.set_aside(), [""; 0], "an answer came to somebody who works");
    cluster.finish().await;
    seen::fault("questions that nobody asks", "answered no, and no answer reaches a work queue");
}
