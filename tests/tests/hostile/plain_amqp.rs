//! A publisher that speaks AMQP by hand, for what no client library sends.
//!
//! Blocks. It knows one channel, and no more of the protocol than publishing takes. What would surprise: it believes the broker, and
//! panics at whatever it did not expect.

use deadpool_lapin::lapin::uri::AMQPUri;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long the broker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xce;

/// A connection with a channel that confirms.
#[derive(Debug)]
pub(crate) struct PlainPublisher {
    stream: TcpStream,
    /// The longest frame that the broker takes, in bytes.
    pub(crate) frame_max: usize,
}

impl PlainPublisher {
    /// Connects to the broker of that URL, without TLS and by password.
    ///
    /// # Panics
    /// If it is not let in.
    #[must_use]
    pub(crate) fn connect(url: &str) -> Self {
        let AMQPUri { authority, vhost, .. } = url.parse().expect("it is a URL of AMQP");
        let stream = TcpStream::connect((authority.host.as_str(), authority.port)).expect("a broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is no time at all");
        let mut publisher = Self { stream, frame_max: 0 };
        publisher.send(b"AMQP\x00\x00\x09\x01");
        publisher.hear([10, 10]);
        let login = format!("\0{}\0{}", authority.userinfo.username, authority.userinfo.password);
        let start = [&[0; 4][..], &short("PLAIN"), &long(login.as_bytes()), &short("en_US")].concat();
        publisher.say(0, [10, 11], &start);
        let tune = publisher.hear([10, 30]);
        let frame_max: [u8; 4] = tune[2..6].try_into().expect("four bytes");
        publisher.frame_max = u32::from_be_bytes(frame_max) as usize;
        publisher.say(0, [10, 31], &[&tune[..6], &[0, 0]].concat());
        publisher.say(0, [10, 40], &[&short(&vhost)[..], &[0, 0]].concat());
        publisher.hear([10, 41]);
        publisher.say(1, [20, 10], &[0]);
        publisher.hear([20, 11]);
        publisher.say(1, [85, 10], &[0]);
        publisher.hear([85, 11]);
        publisher
    }

    /// Publishes a short message whose header frame, without what every frame has, is that many bytes long; back once it is stored.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) fn publish(&mut self, exchange: &str, key: &str, header_bytes: usize, body: &[u8]) {
        self.say(1, [60, 40], &[&[0, 0][..], &short(exchange), &short(key), &[0]].concat());
        // Class, weight, size, which properties; then a table of one long text.
        let mut header = [&[0, 60, 0, 0][..], &(body.len() as u64).to_be_bytes(), &[0x20, 0]].concat();
        let value = header_bytes - header.len() - 4 - 2 - 1 - 4;
        header.extend(long(&[&short("h")[..], b"S", &long(&vec![b'x'; value])].concat()));
        self.frame(HEADER, 1, &header);
        self.frame(BODY, 1, body);
        self.hear([60, 80]);
    }

    fn say(&mut self, channel: u16, [class, method]: [u8; 2], arguments: &[u8]) {
        self.frame(METHOD, channel, &[&[0, class, 0, method], arguments].concat());
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("frames are short");
        let bytes = [&[kind][..], &channel.to_be_bytes(), &length.to_be_bytes(), payload, &[END]].concat();
        self.send(&bytes);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker takes it");
    }

    /// The arguments of the next method, which is this one.
    fn hear(&mut self, [class, method]: [u8; 2]) -> Vec<u8> {
        loop {
            let mut begin = [0; 7];
            self.stream.read_exact(&mut begin).expect("the broker goes on");
            let length: [u8; 4] = begin[3..].try_into().expect("four bytes");
            let mut payload = vec![0; u32::from_be_bytes(length) as usize + 1];
            self.stream.read_exact(&mut payload).expect("the broker goes on");
            if begin[0] == METHOD {
                assert_eq!(
                    payload[..4],
                    [0, class, 0, method],
                    "the broker says {:?}",
                    String::from_utf8_lossy(&payload)
                );
                return payload.split_off(4);
            }
        }
    }
}

fn short(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("names are short");
    [&[length], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("what is sent is short");
    [&length.to_be_bytes()[..], bytes].concat()
}
