//! Which address of a broker's name lets us in: the nodes of a cluster may share one name.
//!
//! It connects and hangs up; who speaks with the broker connects again. It is asked before the client library is: an attempt of
//! that which fails leaves some kilobytes behind for ever (amqp-rs/lapin#368), and a broker that is away for days is tried a million
//! times. What would surprise: addresses are tried in any order, so that clients spread over the nodes, and a node that takes
//! connections and says nothing keeps nobody for good.

use crate::process::chance;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

/// How long an address may take before the next one is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// One of the addresses that a host's name and port stand for, at which somebody listens.
///
/// # Errors
/// The name has no address, or nobody listens at any: what the last one said.
pub(super) async fn reach(address: &str) -> io::Result<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
    addresses.sort_by_cached_key(|_| chance::id());
    first_of(addresses).await
}

/// The first address that lets us in, of those tried in this order.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<SocketAddr> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut tried = JoinSet::new();
    let mut addresses = addresses.into_iter();
    loop {
        let next = addresses.next();
        if let Some(address) = next {
            tried.spawn(async move { TcpStream::connect(address).await.map(|_| address) });
        }
        // The last one is waited for as long as the caller waits.
        let patience = if next.is_some() { HEAD_START } else { Duration::MAX };
        match tokio::time::timeout(patience, tried.join_next()).await {
            Ok(Some(Ok(Ok(address)))) => return Ok(address),
            Ok(Some(Ok(Err(error)))) => last = error,
            Ok(Some(Err(panicked))) => last = io::Error::other(panicked),
            Ok(None) => return Err(last),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream as Waiting};

    const MOST_WAITING: usize = 10_000;

    /// An address at which nobody listens.
    fn refused() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn the_first_address_that_lets_us_in_is_taken_whatever_others_do() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = open.local_addr().unwrap();
        // Nobody takes its connections, and when as many wait as may, the next one is not answered, as at a machine that is cut off.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let full = silent.local_addr().unwrap();
        let waiting: Vec<_> =
            (0..MOST_WAITING).map_while(|_| Waiting::connect_timeout(&full, HEAD_START).ok()).collect();
        assert!(waiting.len() < MOST_WAITING, "the queue is never full");
        let waits = tokio::time::timeout(2 * HEAD_START, first_of(vec![full])).await;
        assert!(waits.is_err(), "{waits:?}");
        for addresses in [vec![full, refused(), there], vec![refused(), full, there], vec![there, full]] {
            assert_eq!(first_of(addresses).await.unwrap(), there);
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_the_reason_is_told() {
        let error = first_of(vec![refused(), refused()]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(first_of(Vec::new()).await.unwrap_err().to_string().contains("no address"));
        assert!(reach("no.such.host.invalid:1").await.is_err());
    }
}
