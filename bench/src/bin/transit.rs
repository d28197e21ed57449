//! What the broker itself can carry: bodies published, confirmed, consumed and acked, nothing computed.
//!
//! `transit BODY_BYTES TOTAL_BYTES`, over `AMQP_URL`, through one quorum queue, on one connection each way. It measures the
//! broker and not us, so it goes past our own transport, and is the one program beside that which speaks AMQP.

use deadpool_lapin::lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use deadpool_lapin::lapin::types::{AMQPValue, FieldTable};
use deadpool_lapin::lapin::{BasicProperties, Connection, ConnectionProperties};
use futures_util::StreamExt;
use rabbit_reduce_runtime::process::tell;
use std::collections::VecDeque;
use std::error::Error;

/// Bodies on their way to the broker, and to the consumer.
const WINDOW: u16 = 64;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|number| number.parse()).collect::<Result<_, _>>()?;
    let [body_bytes, total_bytes] = numbers[..] else { return Err("usage: transit BODY_BYTES TOTAL_BYTES".into()) };
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672/%2f".to_owned());
    let queue = format!("transit-{}", std::process::id());
    let bodies = total_bytes.div_ceil(body_bytes);

    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;

    let (from, name) = (url.clone(), queue.clone());
    let consuming = tokio::spawn(async move {
        let connection = Connection::connect(&from, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(WINDOW, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let mut consumer =
            channel.basic_consume(name.as_str().into(), "transit".into(), options, FieldTable::default()).await?;
        let mut bytes = 0;
        for _ in 0..bodies {
            let delivery = consumer.next().await.ok_or("the broker ended the consumer")??;
            bytes += delivery.data.len();
            delivery.ack(BasicAckOptions::default()).await?;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(bytes)
    });

    let body: Vec<u8> = (0..body_bytes).map(|place| (place % 251) as u8).collect();
    let mut unconfirmed = VecDeque::new();
    for _ in 0..bodies {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
        unconfirmed
            .push_back(channel.basic_publish("".into(), queue.as_str().into(), options, &body, properties).await?);
        if unconfirmed.len() >= usize::from(WINDOW) {
            unconfirmed.pop_front().expect("it is full").await?;
        }
    }
    for confirm in unconfirmed {
        confirm.await?;
    }
    let bytes = consuming.await?.map_err(|error| error.to_string())?;
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    tell(&format!("{bytes} bytes in bodies of {body_bytes}"));
    Ok(())
}
