//! The three binaries together, as processes over a real broker: AMQP_URL says where it is.
//!
//! Every test has a namespace, a store and a folder of its own, and they run side by side. What would surprise: answers are
//! compared with a count worked out in the plainest way, not with another run.

mod asking;
mod kills;
mod letters;
mod memory;
mod pushing;
mod refusals;
mod stops;
mod suspects;
mod waits;
