//! What RabbitMQ's headers say about a delivery: how often it was returned, and where and why it died.
//!
//! It reads broker headers only; ours travel in the body. What would surprise: `x-first-death-*` stay at the first death for
//! ever, so the last one is the head of `x-death`.

use crate::broker::Death;
use deadpool_lapin::lapin::BasicProperties;
use deadpool_lapin::lapin::types::{AMQPValue, FieldTable};

/// Returns before this delivery; the header is absent on the first one.
pub(super) fn returns(properties: &BasicProperties) -> u32 {
    let count = properties.headers().as_ref().and_then(|headers| number(headers.inner().get("x-delivery-count")?));
    count.map_or(0, |count| u32::try_from(count.max(0)).unwrap_or(u32::MAX))
}

/// The last death of the message, its queue named inside `namespace`.
pub(super) fn death(properties: &BasicProperties, namespace: &str) -> Option<Death> {
    let headers = properties.headers().as_ref()?;
    let (queue, reason) = last_death(headers)
        .or_else(|| pair(headers, "x-last-death-queue", "x-last-death-reason"))
        .or_else(|| pair(headers, "x-first-death-queue", "x-first-death-reason"))?;
    let inside = queue.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('.'));
    Some(Death { queue: inside.unwrap_or(&queue).to_owned(), reason })
}

fn last_death(headers: &FieldTable) -> Option<(String, String)> {
    match headers.inner().get("x-death")?.as_array()?.as_slice().first()? {
        AMQPValue::FieldTable(death) => pair(death, "queue", "reason"),
        _ => None,
    }
}

fn pair(table: &FieldTable, queue: &str, reason: &str) -> Option<(String, String)> {
    Some((text(table.inner().get(queue)?)?, text(table.inner().get(reason)?)?))
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn number(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::LongLongInt(count) => Some(count),
        AMQPValue::LongInt(count) => Some(count.into()),
        AMQPValue::LongUInt(count) => Some(count.into()),
        AMQPValue::ShortInt(count) => Some(count.into()),
        AMQPValue::ShortUInt(count) => Some(count.into()),
        AMQPValue::ShortShortInt(count) => Some(count.into()),
        AMQPValue::ShortShortUInt(count) => Some(count.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadpool_lapin::lapin::types::FieldArray;

    fn string(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    #[test]
    fn the_last_death_counts_and_unknown_headers_do_not_matter() {
        let entry = |queue: &str, reason: &str| {
            AMQPValue::FieldTable(table(&[
                ("queue", string(queue)),
                ("reason", string(reason)),
                ("count", AMQPValue::LongLongInt(1)),
            ]))
        };
        let deaths = FieldArray::from(vec![entry("ns.again", "delivery_limit"), entry("ns.retry", "expired")]);
        let headers = table(&[
            ("x-death", AMQPValue::FieldArray(deaths)),
            ("x-first-death-queue", string("ns.retry")),
            ("x-first-death-reason", string("expired")),
            ("x-delivery-count", AMQPValue::LongLongInt(21)),
            ("x-of-tomorrow", AMQPValue::Void),
        ]);
        let properties = BasicProperties::default().with_headers(headers);
        assert_eq!(
            death(&properties, "ns"),
            Some(Death { queue: "again".to_owned(), reason: "delivery_limit".to_owned() })
        );
        assert_eq!(returns(&properties), 21);
    }

    #[test]
    fn a_message_as_published_did_not_die() {
        assert_eq!(death(&BasicProperties::default(), "ns"), None);
        assert_eq!(returns(&BasicProperties::default()), 0);
    }
}
