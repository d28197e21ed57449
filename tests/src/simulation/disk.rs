//! The store as one process reaches it: slow, silent about its writes, full, or failing; and others come in between.
//!
//! It keeps the store's contract. What would surprise: a write whose writer died on the way may still happen, later, as it does
//! with a store behind a network.

use super::fault::Fault;
use super::life::Life;
use super::world::World;
use rabbit_reduce_runtime::process::compute::wait;
use rabbit_reduce_runtime::store::{Put, Store, StoreError, Upload};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// See the module.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Whose.
    pub life: Arc<Life>,
}

/// What becomes of a write.
enum Fortune {
    Happens,
    /// It does not say so, and this is whether it happens.
    Silent(bool),
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
            return Fortune::Silent(world.dice.hits(500));
        }
        Fortune::Happens
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
        on_its_way.write = None;
        let written = match self.fortune(path) {
            Fortune::Happens => write(),
            Fortune::Silent(true) => write().and_then(|_| Err(silent(path))),
            Fortune::Silent(false) => Err(silent(path)),
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
            world.later(world.span(Duration::from_secs(5)), async move {
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
            world.store.put_new(path, body)
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
        Ok(Box::new(DiskUpload { disk: self.clone(), path: path.to_owned(), body: Vec::new() }))
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
}

impl Write for DiskUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.disk.world().is_in(&self.disk.world().plan.faults.full) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for DiskUpload {
    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { disk, path, body } = *self;
        let store = disk.world().store.clone();
        let (late_store, late_path, late_body) = (store.clone(), path.clone(), body.clone());
        let finish = || match store.put_new(&path, &body)? {
            Put::Created => Ok(()),
            Put::Exists => Err(StoreError::before_the_name(&path, ErrorKind::AlreadyExists.into())),
        };
        disk.write(&path, finish, move || drop(late_store.put_new(&late_path, &late_body)))
    }
}
