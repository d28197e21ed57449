//! Inputs that can be made from nothing: repetitions, random keys, one key, one line.
//!
//! The real ones (`kjv.txt`, `kjv100.txt`, `linux.txt`, `linux/`) have to be there. What is there already is not made again.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// Bytes of each input that could be a cliff.
const CLIFF_BYTES: usize = 200_000_000;

/// Makes what is missing.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    let text = std::fs::read(folder.join("kjv.txt"))?;
    let repeated =
        |name: &str, times: usize| make_one(folder, name, |out| (0..times).try_for_each(|_| out.write_all(&text)));
    repeated("kjv10.txt", 10)?;
    repeated("kjv100.txt", 100)?;
    repeated("kjv200.txt", CLIFF_BYTES / text.len())?;
    make_one(folder, "tiny.txt", |out| out.write_all(b"to be or not"))?;
    make_one(folder, "same.txt", |out| (0..CLIFF_BYTES / 5).try_for_each(|_| out.write_all(b"same\n")))?;
    make_one(folder, "line.txt", |out| {
        text.iter()
            .cycle()
            .take(CLIFF_BYTES)
            .map(|byte| if *byte == b'\n' { b' ' } else { *byte })
            .try_for_each(|byte| out.write_all(&[byte]))
    })?;
    make_one(folder, "token.txt", |out| (0..CLIFF_BYTES / 10).try_for_each(|_| out.write_all(b"abcdefghij")))?;
    make_one(folder, "random.txt", |out| {
        // A linear congruential generator (Knuth, MMIX): no key comes twice, and the same ones every time.
        let mut state = 1_u64;
        (0..CLIFF_BYTES / 65).try_for_each(|_| {
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                write!(out, "{state:016x}")?;
            }
            out.write_all(b"\n")
        })
    })
}

/// Makes shorter pieces of the text whose words hardly repeat.
pub(crate) fn make_pieces(folder: &Path) -> io::Result<()> {
    let whole = folder.join("linux.txt");
    let bytes = whole.metadata()?.len();
    for (name, share) in [("linux-quarter.txt", 4), ("linux-half.txt", 2)] {
        make_one(folder, name, |out| io::copy(&mut File::open(&whole)?.take(bytes / share), out).map(drop))?;
    }
    Ok(())
}

/// Makes a folder of a million files, unless it is there.
pub(crate) fn make_many(folder: &Path) -> io::Result<()> {
    let (path, unfinished) = (folder.join("many"), folder.join("many.unfinished"));
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&unfinished)?;
    (0..1_000_000).try_for_each(|number| {
        std::fs::write(unfinished.join(format!("{number:07}.txt")), format!("line {number} of a million\n"))
    })?;
    std::fs::rename(unfinished, path)
}

fn make_one(folder: &Path, name: &str, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let path = folder.join(name);
    if path.exists() {
        return Ok(());
    }
    let unfinished = folder.join(format!("{name}.unfinished"));
    let mut out = BufWriter::new(File::create(&unfinished)?);
    write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    std::fs::rename(unfinished, path)
}
