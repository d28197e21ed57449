//! A cable with faults: forwards TCP to the first of its targets that answers, and cuts, resets, half-closes, stalls, delays,
//! throttles or swallows what passes, when told to.
//!
//! It does not read what it forwards. What would surprise: what ends connections ends those of the moment, new ones are forwarded
//! again; what slows them down holds for all until it is taken back. Connections that bytes were swallowed of are reset then, as a
//! network would that comes back too late.

use socket2::SockRef;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Between two looks at what the cable shall do; the rhythm of throttling, too.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes that are forwarded at once.
const BUFFER: usize = 64 << 10;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the broker.
    There,
    /// From it.
    Back,
}

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// They pass.
    #[default]
    Free,
    /// They wait, both ways.
    Stalled,
    /// They are swallowed one way, and pass the other.
    Deaf(Way),
    /// They pass so much later.
    Delayed(Duration),
    /// So many pass in a second, each way.
    Throttled(u32),
}

/// A cable.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    targets: Vec<String>,
    passage: Mutex<Passage>,
    connections: Mutex<Vec<Arc<Connection>>>,
    gone: AtomicBool,
}

#[derive(Debug)]
struct Connection {
    near: TcpStream,
    far: TcpStream,
    closed: AtomicBool,
    swallowed: AtomicBool,
}

impl Forwarder {
    /// Forwards to `target` (host and port) from a port of its own.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn to(target: String) -> io::Result<Self> {
        Self::to_first_of(vec![target])
    }

    /// The same from a port of this address, for those who reach that one only.
    ///
    /// # Errors
    /// As [`Forwarder::to`].
    pub fn at(address: Ipv4Addr, target: String) -> io::Result<Self> {
        Self::between(address, vec![target])
    }

    /// Forwards each connection to the first target that takes it.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn to_first_of(targets: Vec<String>) -> io::Result<Self> {
        Self::between(Ipv4Addr::LOCALHOST, targets)
    }

    fn between(address: Ipv4Addr, targets: Vec<String>) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let address = listener.local_addr()?;
        let (passage, connections) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { targets, passage, connections, gone: AtomicBool::new(false) });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { address, shared })
    }

    /// Where to connect instead.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of bytes from now on.
    pub fn pass(&self, passage: Passage) {
        *self.shared.passage() = passage;
        let too_late = |connection: &Connection| connection.swallowed.load(Ordering::Relaxed);
        if !matches!(passage, Passage::Deaf(_)) {
            self.shared.connections().retain(|connection| {
                let ends = too_late(connection);
                if ends {
                    connection.reset();
                }
                !ends
            });
        }
    }

    /// The ports from which the target is reached just now.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<u16> {
        let port = |connection: &Arc<Connection>| connection.far.local_addr().ok().map(|address| address.port());
        self.shared.connections().iter().filter_map(port).collect()
    }

    /// Ends every connection that there is, in order.
    pub fn cut(&self) {
        self.shared.connections().drain(..).for_each(|connection| connection.close());
    }

    /// Resets every connection that there is, both ways.
    pub fn reset(&self) {
        self.shared.connections().drain(..).for_each(|connection| connection.reset());
    }

    /// Tells those to whom bytes go this way that nothing more comes, and forwards the other way.
    pub fn half_close(&self, way: Way) {
        for connection in self.shared.connections().iter() {
            // It may have ended by itself.
            connection.end(way).shutdown(Shutdown::Write).ok();
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes who accepts, to see that all is over.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn passage(&self) -> MutexGuard<'_, Passage> {
        self.passage.lock().expect("nobody panics with it")
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().expect("nobody panics with it")
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for near in listener.incoming() {
            if self.gone.load(Ordering::Relaxed) {
                return;
            }
            let shared = Arc::clone(self);
            // Connecting may take long.
            thread::spawn(move || near.and_then(|near| shared.join(near)));
        }
    }

    fn join(self: &Arc<Self>, near: TcpStream) -> io::Result<()> {
        let reached = self.targets.iter().find_map(|target| TcpStream::connect(target).ok());
        let far = reached.ok_or(ErrorKind::ConnectionRefused)?;
        for end in [&near, &far] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(LOOK))?;
        }
        let (closed, swallowed) = (AtomicBool::new(false), AtomicBool::new(false));
        let connection = Arc::new(Connection { near, far, closed, swallowed });
        {
            let mut connections = self.connections();
            connections.retain(|connection| connection.is_open());
            connections.push(Arc::clone(&connection));
        }
        for way in [Way::There, Way::Back] {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            thread::spawn(move || {
                if shared.forward(&connection, way).is_err() {
                    connection.close();
                }
            });
        }
        Ok(())
    }

    fn forward(&self, connection: &Connection, way: Way) -> io::Result<()> {
        let (mut from, mut to) = match way {
            Way::There => (&connection.near, &connection.far),
            Way::Back => (&connection.far, &connection.near),
        };
        let mut buffer = vec![0; BUFFER];
        while connection.is_open() {
            let most = match *self.passage() {
                Passage::Throttled(rate) => (rate as usize / 100).clamp(1, BUFFER),
                _ => BUFFER,
            };
            let length = match from.read(&mut buffer[..most]) {
                Ok(0) => return to.shutdown(Shutdown::Write),
                Ok(length) => length,
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => continue,
                Err(error) => return Err(error),
            };
            if self.lets_pass(connection, way) {
                to.write_all(&buffer[..length])?;
            }
        }
        Ok(())
    }

    /// Whether what was read goes on, once it may.
    fn lets_pass(&self, connection: &Connection, way: Way) -> bool {
        while connection.is_open() {
            let passage = *self.passage();
            match passage {
                Passage::Stalled => thread::sleep(LOOK),
                Passage::Deaf(deaf) if deaf == way => {
                    connection.swallowed.store(true, Ordering::Relaxed);
                    return false;
                }
                Passage::Free | Passage::Deaf(_) => return true,
                Passage::Throttled(_) => {
                    thread::sleep(LOOK);
                    return true;
                }
                Passage::Delayed(delay) => {
                    thread::sleep(delay);
                    return true;
                }
            }
        }
        false
    }
}

impl Connection {
    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    /// The end that bytes which go this way come out of.
    const fn end(&self, way: Way) -> &TcpStream {
        match way {
            Way::There => &self.far,
            Way::Back => &self.near,
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for end in [&self.near, &self.far] {
            // It may have ended by itself.
            end.shutdown(Shutdown::Both).ok();
        }
    }

    /// Both ends are told by a reset, which is what closing without lingering is; it happens as the last thread lets go.
    fn reset(&self) {
        for end in [&self.near, &self.far] {
            SockRef::from(end).set_linger(Some(Duration::ZERO)).ok();
        }
        self.closed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a cable, and the cable.
    fn joined() -> (TcpStream, TcpStream, Forwarder) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cable = Forwarder::to(listener.local_addr().unwrap().to_string()).unwrap();
        let near = TcpStream::connect(cable.address()).unwrap();
        let (far, _) = listener.accept().unwrap();
        (near, far, cable)
    }

    fn passes(mut from: &TcpStream, mut to: &TcpStream) {
        let mut read = [0; 5];
        from.write_all(b"hello").unwrap();
        to.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"hello");
    }

    fn reads_nothing(mut end: &TcpStream) -> io::Result<usize> {
        end.read(&mut [0])
    }

    #[test]
    fn a_reset_is_seen_as_one_at_both_ends() {
        let (near, far, cable) = joined();
        passes(&near, &far);
        passes(&far, &near);
        cable.reset();
        for end in [&near, &far] {
            assert_eq!(reads_nothing(end).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }

    #[test]
    fn a_half_closed_cable_still_passes_the_other_way() {
        let (near, far, cable) = joined();
        passes(&near, &far);
        cable.half_close(Way::There);
        assert_eq!(reads_nothing(&far).unwrap(), 0);
        passes(&far, &near);
    }

    #[test]
    fn what_is_swallowed_never_comes_and_ends_in_a_reset() {
        let (near, far, cable) = joined();
        passes(&near, &far);
        cable.pass(Passage::Deaf(Way::There));
        passes(&far, &near);
        (&near).write_all(b"lost").unwrap();
        far.set_read_timeout(Some(10 * LOOK)).unwrap();
        assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&reads_nothing(&far).unwrap_err().kind()));
        cable.pass(Passage::Free);
        far.set_read_timeout(None).unwrap();
        assert_eq!(reads_nothing(&far).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn what_is_stalled_comes_later() {
        let (near, far, cable) = joined();
        passes(&near, &far);
        cable.pass(Passage::Stalled);
        (&near).write_all(b"late").unwrap();
        far.set_read_timeout(Some(10 * LOOK)).unwrap();
        assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&reads_nothing(&far).unwrap_err().kind()));
        cable.pass(Passage::Free);
        far.set_read_timeout(None).unwrap();
        let mut read = [0; 4];
        (&far).read_exact(&mut read).unwrap();
        assert_eq!(&read, b"late");
    }
}
