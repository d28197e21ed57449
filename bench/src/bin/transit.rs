//! What the broker itself can carry: bodies published, confirmed, consumed and acked, nothing computed.
//!
//! Over `AMQP_URL`, through one quorum queue, on one connection each way. It measures the broker and not us, so it goes past our
//! own transport, and is the one program beside that which speaks AMQP. With `--lz4` it shows what compressed bodies would
//! give, with `--channels` what several publishing channels would.

use clap::Parser;
use deadpool_lapin::lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use deadpool_lapin::lapin::types::{AMQPValue, FieldTable};
use deadpool_lapin::lapin::{self, BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};
use futures_util::StreamExt;
use rabbit_reduce_runtime::process::tell;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::PathBuf;

/// Bodies on their way to the broker, and to the consumer.
const WINDOW: u16 = 64;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Carries bytes through the broker.
#[derive(Parser)]
struct Flags {
    body_bytes: usize,
    total_bytes: usize,
    /// Whose bytes they are, again and again; without it they count up
    #[arg(long)]
    file: Option<PathBuf>,
    /// Channels that publish, in turn
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Compress each body before, and unpack it afterwards
    #[arg(long)]
    lz4: bool,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let Flags { body_bytes, total_bytes, file, channels, lz4 } = Flags::parse();
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672/%2f".to_owned());
    let queue = format!("transit-{}", std::process::id());
    let bodies = total_bytes.div_ceil(body_bytes);
    let text = match file {
        Some(path) => std::fs::read(path)?,
        None => (0..body_bytes).map(|place| (place % 251) as u8).collect(),
    };

    if text.len() < body_bytes {
        return Err(
            format!("--file has {} bytes, fewer than a body of {body_bytes}: take a longer one", text.len()).into()
        );
    }

    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let mut publishing = Vec::new();
    for _ in 0..channels {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        publishing.push(channel);
    }
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;

    let consuming = tokio::spawn(consume(url, queue.clone(), bodies, lz4));
    let mut unconfirmed = VecDeque::new();
    for (number, publisher) in (0..bodies).zip(publishing.iter().cycle()) {
        let place = number * body_bytes % (text.len() - body_bytes + 1);
        let body = &text[place..place + body_bytes];
        let body = if lz4 { lz4_flex::compress_prepend_size(body).into() } else { Cow::Borrowed(body) };
        unconfirmed.push_back(publish(publisher, &queue, &body).await?);
        if unconfirmed.len() >= usize::from(WINDOW) {
            unconfirmed.pop_front().expect("it is full").await?;
        }
    }
    for confirm in unconfirmed {
        confirm.await?;
    }
    let bytes = consuming.await??;
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    tell(&format!("{} bytes in bodies of {body_bytes}, {bytes} of them carried", bodies * body_bytes));
    Ok(())
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<PublisherConfirm, lapin::Error> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
    channel.basic_publish("".into(), queue.into(), options, body, properties).await
}

/// Takes so many bodies; how many bytes came.
async fn consume(url: String, queue: String, bodies: usize, lz4: bool) -> Result<usize, Error> {
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(WINDOW, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(queue.as_str().into(), "transit".into(), options, FieldTable::default()).await?;
    let mut bytes = 0;
    for _ in 0..bodies {
        let delivery = consumer.next().await.ok_or("the broker ended the consumer")??;
        bytes += delivery.data.len();
        if lz4 {
            std::hint::black_box(lz4_flex::decompress_size_prepended(&delivery.data)?);
        }
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(bytes)
}
