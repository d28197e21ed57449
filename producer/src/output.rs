//! Where a result goes, and what of it a terminal shows. The rows themselves are `rabbit_reduce_core::output`'s.

pub mod destination;
mod terminal;
