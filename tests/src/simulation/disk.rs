//! The store as one process reaches it: slow, silent about its writes, full, or failing; and others come in between.
//!
//! It keeps the store's contract. What would surprise: a write whose writer died on the way may still happen, later, as it does
//! with a store behind a network.

use super::fault::Fault;
use super::keeping;
use super::life::Life;
use super::world::World;
use rabbit_reduce_runtime::process::compute::wait;
use rabbit_reduce_runtime::store::{Put, Store, StoreError, Upload};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// A disk that fills up does so within so many bytes.
const MIDWAY: u64 = 600;
/// After so long a write has happened, or does not.
const LATEST: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Whose.
    pub life: Arc<Life>,
}

/// What becomes of a write.
enum Fortune {
    Happens,
    /// It happens, and does not say so.
    Silent,
    /// It says nothing, and does not happen, or later.
    TimesOut,
    Fails(StoreError),
}

impl Disk {
    fn world(&self) -> &Arc<World> {
        &self.life.world
    }

    /// Others go on, and perhaps time.
    fn step(&self) {
        let (world, faults) = (self.world(), &self.world().plan.faults);
        wait(async {
            self.life.moment().await;
            if world.strikes(Fault::SlowStep, faults.slow_steps) {
                tokio::time::sleep(world.span(faults.slowest_step)).await;
                self.life.go_on().await;
            }
        });
    }

    fn read<T>(&self, path: &str, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.step();
        self.world().trace().count();
        if self.world().strikes(Fault::FailedStep, self.world().plan.faults.failed_steps) {
            return Err(failed(path));
        }
        read()
    }

    fn fortune(&self, path: &str) -> Fortune {
        let (world, faults) = (self.world(), &self.world().plan.faults);
        if world.is_in(&faults.full) {
            world.injected(Fault::FullStore);
            let source = io::Error::from(ErrorKind::StorageFull);
            return Fortune::Fails(StoreError::before_the_name(path, source));
        }
        if world.strikes(Fault::FailedStep, faults.failed_steps) {
            return Fortune::Fails(failed(path));
        }
        if world.strikes(Fault::UnknownWrite, faults.unknown_writes) {
            return if world.dice.hits(500) { Fortune::Silent } else { Fortune::TimesOut };
        }
        Fortune::Happens
    }

    /// What timed out may happen all the same, while its writer goes on.
    fn land_late(&self, path: &str, write: Option<Box<dyn FnOnce() + Send>>) {
        let world = self.world();
        if let Some(write) = write
            && world.strikes(Fault::LandsLate, world.plan.faults.late_landings)
        {
            let (later, name, path) = (Arc::clone(world), self.life.name.clone(), told(path).to_owned());
            world.later(world.span(LATEST), async move {
                later.note(format_args!("what {name} wrote to {path} lands"));
                write();
            });
        }
    }

    /// Writes, as fortune has it.
    fn write<T: std::fmt::Debug>(
        &self,
        path: &str,
        write: impl FnOnce() -> Result<T, StoreError>,
        straggler: impl FnOnce() + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut on_its_way = OnItsWay { disk: self, write: Some(Box::new(straggler)) };
        self.step();
        let straggler = on_its_way.write.take();
        let written = match self.fortune(path) {
            Fortune::Happens => write(),
            Fortune::Silent => write().and_then(|_| Err(silent(path))),
            Fortune::TimesOut => {
                self.land_late(path, straggler);
                Err(silent(path))
            }
            Fortune::Fails(error) => Err(error),
        };
        self.world().note(format_args!("{} writes {}: {written:?}", self.life.name, told(path)));
        // Whoever dies now has written, and does not know it.
        self.step();
        written
    }
}

/// A path as the trace tells it: what a letter is called follows from its bytes, and those from where the inputs happen to lie.
fn told(path: &str) -> &str {
    if path.contains("/dead/") { path.rsplit_once('-').map_or(path, |(before, _)| before) } else { path }
}

fn failed(path: &str) -> StoreError {
    StoreError::before_the_name(path, io::Error::other("the store failed, as it was told to"))
}

fn silent(path: &str) -> StoreError {
    StoreError::Unknown { path: path.to_owned(), reason: "the answer was lost".to_owned() }
}

/// A write whose writer may die.
struct OnItsWay<'d> {
    disk: &'d Disk,
    write: Option<Box<dyn FnOnce() + Send>>,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let world = self.disk.world();
        if let Some(write) = self.write.take()
            && world.strikes(Fault::LateWrite, world.plan.faults.stragglers)
        {
            let (later, name) = (Arc::clone(world), self.disk.life.name.clone());
            world.later(world.span(LATEST), async move {
                later.note(format_args!("{name}, who is gone, writes"));
                write();
            });
        }
    }
}

impl Store for Disk {
    fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError> {
        let world = self.world();
        let put = || {
            // Not at the start, where the store is tried and would be refused.
            if world.overwrites && path.contains('/') {
                world.store.remove(path)?;
            }
            let put = world.store.put_new(path, body)?;
            if put == Put::Created {
                keeping::put(world, path);
            }
            Ok(put)
        };
        let (store, late_path, late_body) = (world.store.clone(), path.to_owned(), body.to_vec());
        self.write(path, put, move || drop(store.put_new(&late_path, &late_body)))
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(path, || self.world().store.get(path))
    }

    fn settle(&self, folder: &str) -> Result<(), StoreError> {
        self.world().store.settle(folder)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.read(folder, || self.world().store.list(folder))
    }

    fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        let world = self.world();
        let room = world.happens(world.plan.faults.full_midway).then(|| world.dice.below(MIDWAY));
        let room = room.map(|room| usize::try_from(room).expect("it is small"));
        Ok(Box::new(DiskUpload { disk: self.clone(), path: path.to_owned(), body: Vec::new(), room, failed: false }))
    }

    fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        self.read(path, || self.world().store.open(path, offset))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.step();
        if self.world().strikes(Fault::FailedStep, self.world().plan.faults.failed_steps) {
            return Err(failed(path));
        }
        let removed = self.world().store.remove(path);
        self.world().note(format_args!("{} removes {path}: {removed:?}", self.life.name));
        self.step();
        removed
    }
}

struct DiskUpload {
    disk: Disk,
    path: String,
    body: Vec<u8>,
    /// What it may hold before the disk is full.
    room: Option<usize>,
    failed: bool,
}

impl Write for DiskUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let world = self.disk.world();
        let left = self.room.map_or(usize::MAX, |room| room.saturating_sub(self.body.len()));
        if left == 0 && !bytes.is_empty() {
            world.injected(Fault::FullMidway);
        }
        if (left == 0 && !bytes.is_empty()) || world.is_in(&world.plan.faults.full) {
            self.failed = true;
            return Err(ErrorKind::StorageFull.into());
        }
        let taken = left.min(bytes.len());
        self.body.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for DiskUpload {
    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { disk, path, body, failed, .. } = *self;
        if failed {
            disk.world().wrong(format!("{} finishes {path}, of which not everything was written", disk.life.name));
        }
        let store = disk.world().store.clone();
        let (late_store, late_path, late_body) = (store.clone(), path.clone(), body.clone());
        let finish = || match store.put_new(&path, &body)? {
            Put::Created => Ok(()),
            Put::Exists => Err(StoreError::before_the_name(&path, ErrorKind::AlreadyExists.into())),
        };
        disk.write(&path, finish, move || drop(late_store.put_new(&late_path, &late_body)))
    }
}
