//! What is told to Prometheus: names, help and numbers, put together whenever somebody asks.
//!
//! It knows no role. What would surprise: every page of numbers is made anew, so that what is gone (a removed job, an empty queue)
//! is gone there, too.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Of [`Page::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

/// A page of numbers.
#[derive(Debug)]
pub struct Page(Registry);

impl Default for Page {
    fn default() -> Self {
        Self(Registry::with_prefix("rabbit_reduce"))
    }
}

impl Page {
    /// What only grows; its name gets `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstCounter::new(value));
    }

    /// What rises and falls, once for all of these labels.
    pub fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, i64)>) {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    /// As Prometheus reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("a string takes everything");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_prometheus_reads_it() {
        let mut page = Page::default();
        page.counter("chunks", "Chunks that were mapped", 3);
        let labels = |queue: &str| vec![("queue", queue.to_owned())];
        page.gauges("messages", "Messages that wait", [(labels("a\"b\\\n"), 2)]);
        let expected = "\
# HELP rabbit_reduce_chunks Chunks that were mapped.
# TYPE rabbit_reduce_chunks counter
rabbit_reduce_chunks_total 3
# HELP rabbit_reduce_messages Messages that wait.
# TYPE rabbit_reduce_messages gauge
rabbit_reduce_messages{queue=\"a\\\"b\\\\\\n\"} 2
# EOF
";
        assert_eq!(page.text(), expected);
    }
}
