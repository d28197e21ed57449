//! Modules: those in `guest/examples/`, built as their users would build them, and modules in C of the tests' own.
//!
//! What would surprise: they are built once for all tests of a run, by whichever test comes first; the others wait for it.

use rabbit_reduce_core::jobs::Options;
use rabbit_reduce_core::shipped::Shipped;
use rabbit_reduce_runtime::module::{DEFAULT_MEMORY_BYTES, check};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

static BUILT: LazyLock<PathBuf> = LazyLock::new(build);

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace");
    let test = std::env::current_exe().expect("a test has a file");
    let folder = test.ancestors().nth(2).expect("it lies in the build's folder").join("guests");
    std::fs::create_dir_all(&folder).expect("there is room for modules");
    let lock = File::create(folder.join("lock")).expect("the folder is ours");
    lock.lock().expect("it can be locked");
    let run = |command: &mut Command| {
        let output = command.output().expect("it can be started");
        assert!(output.status.success(), "modules cannot be built: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new(root.join("scripts/guests")).arg(&folder));
    let mut clang = Command::new("clang");
    clang.args(["--target=wasm32", "-mbulk-memory", "-O2", "-nostdlib", "-Wall", "-Werror", "-Wl,--no-entry"]);
    clang.arg("-I").arg(root.join("guest/include")).arg(root.join("tests/guests/fragile.c"));
    run(clang.arg("-o").arg(folder.join("fragile.c.wasm")));
    folder
}

/// Where a module lies: `word_count`, or `word_count.c` for the one in C.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    BUILT.join(format!("{name}.wasm"))
}

/// A module as a job's option, and its bytes, which travel with the job.
///
/// # Panics
/// If there is no such module.
#[must_use]
pub fn module(name: &str) -> (Options, Vec<(Shipped, bytes::Bytes)>) {
    let bytes = std::fs::read(guest(name)).expect("it has been built");
    let module = check(&bytes, DEFAULT_MEMORY_BYTES, Duration::from_secs(60)).expect("it can be run");
    let file = module.file.clone();
    (Options { module: Some(Box::new(module)), ..Options::default() }, vec![(file, bytes.into())])
}
