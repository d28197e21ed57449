//! The state machine by hand and at random, with time moved by the test.

use super::*;
use rabbit_reduce_core::topology::Queue;

const NOW: Duration = Duration::ZERO;

fn queue(name: &str) -> Queue {
    Queue {
        name: name.to_owned(),
        max_messages: None,
        max_bytes: None,
        delivery_limit: 2,
        ttl: None,
        dead_letter_to: (name != "dead").then(|| "dead".to_owned()),
    }
}

fn state(queues: Vec<Queue>) -> State {
    let mut state = State::default();
    state.declare(&Topology { namespace: "ns".to_owned(), queues }).unwrap();
    state
}

fn publish(state: &mut State, now: Duration, name: &str, body: &'static str) -> Published {
    state.publish(now, &Route::Queue(name.to_owned()), Bytes::from_static(body.as_bytes())).unwrap()
}

fn take(state: &mut State, id: ConsumerId) -> Option<(u64, String, u32)> {
    match state.next(id) {
        Next::Found(found) => Some((found.tag, String::from_utf8(found.body.to_vec()).unwrap(), found.returns)),
        Next::Wait | Next::Ended => None,
    }
}

#[test]
fn what_a_consumer_held_comes_back_first_and_in_its_order() {
    let mut state = state(vec![queue("map"), queue("dead")]);
    for body in ["a", "b", "c", "d"] {
        assert_eq!(publish(&mut state, NOW, "map", body), Published::Confirmed);
    }
    let first = state.consume(NOW, "map", 3).unwrap();
    let (tag, ..) = take(&mut state, first).unwrap();
    assert!(state.settle(NOW, first, tag, Settlement::Ack));
    state.end(NOW, first);
    assert!(!state.settle(NOW, first, 2, Settlement::Ack));
    let second = state.consume(NOW, "map", 10).unwrap();
    let seen: Vec<_> =
        std::iter::from_fn(|| take(&mut state, second)).map(|(_, body, returns)| (body, returns)).collect();
    let expected = [("b", 1), ("c", 1), ("d", 1)].map(|(body, returns)| (body.to_owned(), returns));
    assert_eq!(seen, expected);
}

#[test]
fn consumers_take_turns() {
    let mut state = state(vec![queue("map"), queue("dead")]);
    let ids = [state.consume(NOW, "map", 9).unwrap(), state.consume(NOW, "map", 9).unwrap()];
    for body in ["a", "b", "c", "d"] {
        assert_eq!(publish(&mut state, NOW, "map", body), Published::Confirmed);
    }
    assert_eq!(state.woken().collect::<Vec<_>>(), [ids[0], ids[1], ids[0], ids[1]]);
}

#[test]
fn a_dead_letter_waits_outside_a_full_queue_and_is_never_lost() {
    let mut state = state(vec![
        Queue { ttl: Some(Duration::from_secs(5)), ..queue("retry") },
        Queue { max_messages: Some(1), ..queue("dead") },
    ]);
    assert_eq!(publish(&mut state, NOW, "dead", "first"), Published::Confirmed);
    assert_eq!(publish(&mut state, NOW, "dead", "refused"), Published::Refused);
    assert_eq!(publish(&mut state, NOW, "retry", "second"), Published::Confirmed);
    assert_eq!(state.next_expiry(), Some(Duration::from_secs(5)));
    state.expire(Duration::from_secs(4));
    assert_eq!(state.depth("retry").unwrap().messages, 1);
    state.expire(Duration::from_secs(5));
    assert_eq!((state.depth("retry").unwrap().messages, state.depth("dead").unwrap().messages), (0, 1));
    let id = state.consume(NOW, "dead", 1).unwrap();
    for expected in ["first", "second"] {
        let (tag, body, _) = take(&mut state, id).unwrap();
        assert_eq!(body, expected);
        assert!(state.settle(NOW, id, tag, Settlement::Ack));
    }
    assert!(matches!(state.next(id), Next::Wait));
}

#[test]
fn at_random_nothing_is_lost_or_doubled() {
    for seed in 1..=200_u64 {
        let mut random = seed;
        // Knuth's 64-bit linear congruential generator.
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        let mut state = state(vec![
            Queue { max_messages: Some(5), ..queue("map") },
            Queue { ttl: Some(Duration::from_secs(3)), dead_letter_to: Some("map".to_owned()), ..queue("retry") },
            Queue { delivery_limit: 1_000_000, max_messages: Some(3), ..queue("dead") },
        ]);
        let (mut now, mut sent, mut acked) = (NOW, 0_u64, BTreeSet::new());
        let mut consumers: Vec<(ConsumerId, Vec<(u64, Bytes)>)> = Vec::new();
        for _ in 0..400 {
            match below(7) {
                0 | 1 => {
                    let to = Route::Queue(["map", "retry"][below(2) as usize].to_owned());
                    if state.publish(now, &to, sent.to_be_bytes().to_vec().into()).unwrap() == Published::Confirmed {
                        sent += 1;
                    }
                }
                2 => consumers.push((
                    state.consume(now, ["map", "dead"][below(2) as usize], 1 + below(3) as u16).unwrap(),
                    vec![],
                )),
                3 if !consumers.is_empty() => {
                    let (id, _) = consumers.swap_remove(below(consumers.len() as u64) as usize);
                    state.end(now, id);
                }
                4 => {
                    now += Duration::from_secs(below(3));
                    state.expire(now);
                }
                _ if !consumers.is_empty() => {
                    let chosen = below(consumers.len() as u64) as usize;
                    let (id, held) = &mut consumers[chosen];
                    if let Next::Found(found) = state.next(*id) {
                        held.push((found.tag, found.body));
                    }
                    if !held.is_empty() {
                        let (tag, body) = held.swap_remove(below(held.len() as u64) as usize);
                        let how = if below(3) == 0 { Settlement::Return } else { Settlement::Ack };
                        assert!(state.settle(now, *id, tag, how), "seed {seed}");
                        if how == Settlement::Ack {
                            assert!(
                                acked.insert(u64::from_be_bytes(body.as_ref().try_into().unwrap())),
                                "seed {seed}: twice"
                            );
                        }
                    }
                }
                _ => {}
            }
        }
        for (id, _) in consumers {
            state.end(now, id);
        }
        drain(&mut state, now + Duration::from_secs(10), &mut acked, seed);
        assert_eq!(acked, (0..sent).collect(), "seed {seed}");
    }
}

fn drain(state: &mut State, now: Duration, acked: &mut BTreeSet<u64>, seed: u64) {
    state.expire(now);
    let ids = ["map", "dead"].map(|name| state.consume(now, name, 2).unwrap());
    let mut idle = 0;
    while idle < 2 {
        idle = 0;
        for id in ids {
            match state.next(id) {
                Next::Found(found) => {
                    assert!(state.settle(now, id, found.tag, Settlement::Ack));
                    assert!(
                        acked.insert(u64::from_be_bytes(found.body.as_ref().try_into().unwrap())),
                        "seed {seed}: twice"
                    );
                }
                _ => idle += 1,
            }
        }
    }
}
