//! A server's troubles: stands in front of an HTTP server and loses, refuses or delays what a test picks.
//!
//! It knows HTTP, nothing of buckets. What would surprise: it speaks one request a connection, so that the end of an answer is
//! the end of its connection; and what it is told to lose has really happened behind it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Nobody of a test waits that long for the server behind.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `PUT`, `GET`, ….
    pub method: String,
    /// With the query.
    pub path: String,
    /// Whether it asks that the name be free.
    pub if_absent: bool,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing special.
    Pass,
    /// It is carried out, and the connection ends without an answer.
    LoseAnswer,
    /// It is carried out, and the answer is this status and code.
    AnswerAfter(u16, &'static str),
    /// It is not carried out, and the answer is this status and code.
    Answer(u16, &'static str),
    /// It is carried out without the condition that the name be free: only unsigned requests can be changed.
    Unconditional,
    /// It is carried out, and nothing is heard of it for as long as this stands.
    Stall,
}

type Decide = Box<dyn FnMut(&Asked) -> Fate + Send>;

/// What stands in front.
pub struct Front {
    address: SocketAddr,
    decide: Arc<Mutex<Decide>>,
}

impl Front {
    /// In front of a server at this host and port.
    ///
    /// # Panics
    /// If no port can be had.
    #[must_use]
    pub fn of(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let decide: Arc<Mutex<Decide>> = Arc::new(Mutex::new(Box::new(|_| Fate::Pass)));
        let (server, deciding) = (server.to_owned(), Arc::clone(&decide));
        // It ends with the process: a test's fronts are few.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (server, deciding) = (server.clone(), Arc::clone(&deciding));
                // Who asked sees a broken connection as the trouble that it is.
                thread::spawn(move || serve(connection, &server, &deciding).ok());
            }
        });
        Self { address, decide }
    }

    /// Where it stands.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Decides on every request from now on.
    ///
    /// # Panics
    /// If an earlier decision did.
    pub fn decide(&self, decide: impl FnMut(&Asked) -> Fate + Send + 'static) {
        *self.decide.lock().expect("no decision panics") = Box::new(decide);
    }
}

struct Request {
    asked: Asked,
    head: String,
    body: Vec<u8>,
}

fn serve(mut near: TcpStream, server: &str, decide: &Mutex<Decide>) -> io::Result<()> {
    let Some(Request { asked, head, body }) = request(&mut near)? else { return Ok(()) };
    let fate = (decide.lock().expect("no decision panics"))(&asked);
    if let Fate::Answer(status, code) = fate {
        return refuse(&mut near, status, code);
    }
    let mut far = TcpStream::connect(server)?;
    far.set_read_timeout(Some(PATIENCE))?;
    far.write_all(changed(&head, fate == Fate::Unconditional).as_bytes())?;
    far.write_all(&body)?;
    let mut answer = Vec::new();
    far.read_to_end(&mut answer)?;
    match fate {
        Fate::LoseAnswer => near.shutdown(Shutdown::Both),
        Fate::AnswerAfter(status, code) => refuse(&mut near, status, code),
        Fate::Stall => {
            // Until who asked goes away.
            near.read_to_end(&mut Vec::new())?;
            Ok(())
        }
        _ => near.write_all(&answer),
    }
}

fn request(near: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let mut more = [0; 8192];
        let length = near.read(&mut more)?;
        if length == 0 || bytes.len() > MAX_HEAD_BYTES {
            return Ok(None);
        }
        bytes.extend_from_slice(&more[..length]);
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length: usize = header(&head, "content-length").map_or(0, |length| length.parse().expect("a number"));
    let have = body.len();
    body.resize(length, 0);
    near.read_exact(&mut body[have..])?;
    let mut words = head.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let asked = Asked { method, path, if_absent: header(&head, "if-none-match").is_some() };
    Ok(Some(Request { asked, head, body }))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find_map(|(found, value)| if found.eq_ignore_ascii_case(name) { Some(value.trim()) } else { None })
}

/// The head, with an end to its connection, and perhaps without its condition.
fn changed(head: &str, unconditional: bool) -> String {
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    let names = |line: &str, name: &str| line.to_ascii_lowercase().starts_with(name);
    lines.retain(|line| !(names(line, "connection:") || unconditional && names(line, "if-none-match:")));
    format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))
}

fn refuse(near: &mut TcpStream, status: u16, code: &str) -> io::Result<()> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>");
    let length = body.len();
    let head = format!("HTTP/1.1 {status} On Purpose\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    near.write_all(head.as_bytes())?;
    near.write_all(body.as_bytes())
}
