//! The real binaries: found beside the running test, and built first where they are missing or older than their sources.
//!
//! Cargo tells a test where its own package's binaries are, not those of others; so what `cargo build` left is looked up in the
//! folder that the test itself was built into, and the list of sources that lies beside each binary says whether it is still
//! what they make. What would surprise: Cargo's lock is free while tests run, so a test may call it; whoever runs the whole
//! workspace's tests on fresh binaries never does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The roles, which are the binaries' names.
const NAMES: [&str; 3] = ["producer", "worker", "aggregator"];

/// The path of a binary that is what the sources say.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(fresh).join(name)
}

fn fresh() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its file");
    let folder = test.ancestors().nth(2).expect("a test lies in deps of its profile's folder").to_owned();
    if !NAMES.iter().all(|name| is_fresh(&folder.join(name))) {
        build(&folder);
        // Cargo leaves alone what has the same content after all; only what is still missing is wrong.
        for name in NAMES {
            assert!(folder.join(name).exists(), "cargo build left no {name} in {}", folder.display());
        }
    }
    folder
}

/// Whether a binary is younger than everything that its list of sources names.
fn is_fresh(binary: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    let (Some(made), Ok(list)) = (modified(binary), fs::read_to_string(binary.with_extension("d"))) else {
        return false;
    };
    let (_, sources) = list.split_once(": ").unwrap_or_default();
    // Spaces in paths are escaped by a backslash, which no other byte is.
    let sources = sources.trim_end().replace("\\ ", "\0");
    let younger =
        |source: &str| modified(Path::new(&source.replace('\0', " "))).is_some_and(|at: SystemTime| at <= made);
    !sources.is_empty() && sources.split(' ').all(younger)
}

/// All packages at once, and something that has the tests' dependencies (the examples), so that the libraries have the features
/// that they have in tests: none is built twice.
fn build(folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()).expect("a profile's folder has its name") {
        "debug" => "dev",
        other => other,
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in a workspace");
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--bins", "--examples", "--locked", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(workspace)
        .output()
        .expect("cargo starts");
    assert!(built.status.success(), "cargo build failed:\n{}", String::from_utf8_lossy(&built.stderr));
}
