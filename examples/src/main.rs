//! Producer, worker and aggregator that know the example programs: `rabbit-examples producer run --job next-word FILE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    rabbit_reduce_producer::roles::main(rabbit_reduce_examples::programs())
}
