//! stub
use rabbit_reduce_core::message::{Losses, Status};
use rabbit_reduce_core::spec::Source;
/// s
pub fn jobs(found: &[Status], _json: bool) -> String { format!("{found:#?}\n") }
/// s
pub fn status(found: &Status, _s: &[Source], _json: bool) -> String { format!("{found:#?}\n") }
/// l
pub fn losses(losses: &Losses, _s: &[Source]) -> String { format!("{losses:#?}") }
