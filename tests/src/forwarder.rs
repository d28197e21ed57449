//! A cable that can be cut: forwards TCP to an address until told to drop everything.
//!
//! It does not read what it forwards. What would surprise: a cut ends the connections of the moment; new ones are forwarded again.

use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A cable to one address.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    cuts: watch::Sender<u32>,
    accepting: JoinHandle<()>,
}

impl Forwarder {
    /// Forwards to `target` (host and port) from a port of its own.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn to(target: String) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, cuts) = (listener.local_addr()?, watch::Sender::new(0));
        let accepting = tokio::spawn(accept(listener, target, cuts.subscribe()));
        Ok(Self { address, cuts, accepting })
    }

    /// Where to connect instead.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops every connection that there is.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: String, cuts: watch::Receiver<u32>) {
    while let Ok((near, _)) = listener.accept().await {
        let (target, mut cuts) = (target.clone(), cuts.clone());
        cuts.mark_unchanged();
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(target).await else { return };
            let (mut near, mut far) = (near, far);
            tokio::select! {
                _ended = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _cut = cuts.changed() => {}
            }
        });
    }
}
