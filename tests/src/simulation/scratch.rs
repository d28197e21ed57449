//! Scratch files in memory, some of which fail: where they are made, as they are filled, or as they are read.
//!
//! What would surprise: who maps knows nothing of a world, so the thread does; it lives through one at a time.

use super::fault::Fault;
use super::world::World;
use rabbit_reduce_core::table::ScratchFile;
use std::cell::RefCell;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Weak};

thread_local! {
    static WORLD: RefCell<Weak<World>> = const { RefCell::new(Weak::new()) };
}

/// From now on scratch files of this thread are this world's.
pub fn belong_to(world: &Arc<World>) {
    WORLD.set(Arc::downgrade(world));
}

/// Makes one.
///
/// # Errors
/// If the world says so.
pub fn create() -> io::Result<Box<dyn ScratchFile>> {
    fails()?;
    Ok(Box::new(Scratch(Cursor::new(Vec::new()))))
}

fn fails() -> io::Result<()> {
    let world = WORLD.with_borrow(Weak::upgrade);
    let fails = world.is_some_and(|world| world.strikes(Fault::ScratchFailed, world.plan.faults.failed_scratch));
    if fails { Err(io::Error::other("the scratch file failed, as it was told to")) } else { Ok(()) }
}

struct Scratch(Cursor<Vec<u8>>);

impl Read for Scratch {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        fails()?;
        self.0.read(into)
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fails()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Scratch {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}
