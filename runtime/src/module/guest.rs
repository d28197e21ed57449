//! One instance of a module: calls into it, and what it is offered.
//!
//! It knows no chunks and no partitions. The host writes what a call is about where `reserve` says, and calls; the instance
//! answers through the functions of the interface. What would surprise: a module has nothing else, so whatever it does follows
//! from what it was given; and a call that traps leaves the instance in nobody knows which state, so it is thrown away.

use super::compiled::{Compiled, INTERFACE, TICK};
use super::feed::Feed;
use super::values::Short;
use rabbit_reduce_core::map::MAX_PAIR_BYTES;
use rabbit_reduce_core::pairs::{put_varint, take_varint};
use rabbit_reduce_core::short::ShortKey;
use rabbit_reduce_core::skip::{MAX_REASON_BYTES, short_reason};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmtime::{
    Caller, Error, Instance, Linker, Memory, ResourceLimiter, Store, Trap, TypedFunc, UpdateDeadline, WasmParams,
    WasmResults,
};

/// Lines that an instance may log, and the longest of them in bytes.
const LOGGED_LINES: u32 = 100;
const LOGGED_BYTES: usize = 1 << 10;
/// Names that one call may count under; the rest is not counted.
const COUNTED_NAMES: usize = 64;
/// What the tables of an instance may hold together.
pub(super) const TABLE_ELEMENTS: usize = 1 << 17;
/// What a pair takes besides its bytes, empty ones too.
const PAIR_BYTES: u64 = size_of::<(ShortKey, Short)>() as u64;
/// Nothing more, where a length is asked for.
const NONE: u32 = u32::MAX;

/// What is the same for all instances of a job.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// What it was told with `--set`.
    pub(super) settings: Arc<BTreeMap<String, String>>,
    /// How long a call may last without asking for more.
    pub(super) silence: Duration,
    /// Whether nobody wants it any more.
    pub(super) stop: Arc<AtomicBool>,
}

/// Why a call did not end well.
#[derive(Debug)]
pub(super) enum CallError {
    /// It would fail again, so that its record or key is at fault.
    Trapped(String),
    /// It was stopped by a limit that another machine may not reach in the same way.
    Limit(String),
    /// More than it may put out.
    Output { limit: u64 },
    /// A pair that no message carries.
    Pair { bytes: usize },
    /// Nobody wants it any more.
    Stopped,
}

impl CallError {
    /// In a line.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Trapped(reason) | Self::Limit(reason) => reason.clone(),
            Self::Output { limit } => format!("it puts out more than {limit} bytes"),
            Self::Pair { bytes } => format!("it puts out a pair of {bytes} bytes"),
            Self::Stopped => "nobody wants it any more".to_owned(),
        }
    }
}

/// What stops a call, from inside it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Fault {
    #[error("it names bytes outside its memory")]
    Outside,
    #[error("it calls `{0}` where there is none")]
    Misplaced(&'static str),
    #[error("it puts out more than {limit} bytes")]
    Output { limit: u64 },
    #[error("it puts out a pair of {bytes} bytes")]
    Pair { bytes: usize },
    #[error("the last of the pairs that it puts out together is cut short")]
    Cut,
    #[error("it took too long")]
    Silence,
    #[error("nobody wants it any more")]
    Stopped,
}

/// Pairs one after the other: the lengths of a key and of its value in LEB128, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
}

impl Held {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        put_varint(&mut self.bytes, key.len() as u64);
        put_varint(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    /// What they take, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets them.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// In the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || take_pair(&mut rest))
    }
}

/// The first pair of those that lie one after the other; nothing where there is none, or it is cut short.
#[inline(always)]
fn take_pair<'p>(pairs: &mut &'p [u8]) -> Option<(&'p [u8], &'p [u8])> {
    let [key, value] = [take_length(pairs)?, take_length(pairs)?];
    let (key, rest) = pairs.split_at_checked(key)?;
    let (value, rest) = rest.split_at_checked(value)?;
    *pairs = rest;
    Some((key, value))
}

#[inline(always)]
fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    match bytes.split_first()? {
        (&length, rest) if length < 0x80 => {
            *bytes = rest;
            Some(length.into())
        }
        _ => usize::try_from(take_varint(bytes)?).ok(),
    }
}

/// What a call is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Begin,
    Map,
    Combine,
    Reduce,
}

/// What belongs to an instance on this side.
#[derive(Default)]
pub(super) struct Host {
    memory: Option<Memory>,
    memory_bytes: usize,
    /// Of all its tables.
    table_elements: usize,
    terms: Terms,
    at: At,
    /// Ticks that a call may last without asking for more, and what is left of them.
    ticks: u64,
    ticks_left: u64,
    /// What a call may still put out, in bytes, of how many.
    output: (u64, u64),
    held: Held,
    /// Pairs are wanted in any order: short ones come here.
    in_any_order: bool,
    short: Vec<(ShortKey, Short)>,
    refused: Option<String>,
    counts: BTreeMap<String, u64>,
    logged: u32,
    source: Vec<u8>,
    offset: u64,
    feed: Option<Feed>,
}

impl Host {
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.may_emit("emit")?;
        self.count_output(key, value)?;
        self.hold(key, value, ShortKey::of(key));
        self.put_out()
    }

    /// Pairs that lie one after the other, `length` bytes of them from the beginning of `memory`.
    fn emit_all(&mut self, memory: &[u8], length: usize) -> Result<(), Fault> {
        self.may_emit("emit_all")?;
        let mut rest = memory.get(..length).ok_or(Fault::Outside)?;
        while !rest.is_empty() {
            let (key, value) = take_pair(&mut rest).ok_or(Fault::Cut)?;
            self.count_output(key, value)?;
            let begin = length - rest.len() - value.len() - key.len();
            // Nearly always there is enough behind it to be quick.
            let short = ShortKey::within(memory, begin, key.len()).or_else(|| ShortKey::of(key));
            self.hold(key, value, short);
        }
        self.put_out()
    }

    #[inline(always)]
    fn hold(&mut self, key: &[u8], value: &[u8], short: Option<ShortKey>) {
        if self.in_any_order
            && let (Some(key), Some(value)) = (short, Short::of(value))
        {
            self.short.push((key, value));
        } else {
            self.held.push(key, value);
        }
    }

    fn may_emit(&self, what: &'static str) -> Result<(), Fault> {
        if matches!(self.at, At::Map | At::Reduce) { Ok(()) } else { Err(Fault::Misplaced(what)) }
    }

    #[inline(always)]
    fn count_output(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let bytes = key.len() + value.len();
        if bytes > MAX_PAIR_BYTES {
            return Err(Fault::Pair { bytes });
        }
        let (left, limit) = self.output;
        self.output.0 = left.checked_sub(bytes as u64 + PAIR_BYTES).ok_or(Fault::Output { limit })?;
        Ok(())
    }

    fn put_out(&mut self) -> Result<(), Fault> {
        if self.at == At::Reduce
            && let Some(feed) = &mut self.feed
        {
            feed.put_out(&mut self.held, false).map_err(|_| Fault::Stopped)?;
        }
        Ok(())
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool, Error> {
        Ok(desired <= self.memory_bytes)
    }

    fn table_growing(&mut self, current: usize, desired: usize, most: Option<usize>) -> Result<bool, Error> {
        // What its own limit forbids takes nothing of ours.
        if most.is_some_and(|most| desired > most) {
            return Ok(true);
        }
        let all = self.table_elements - current + desired;
        if all > TABLE_ELEMENTS {
            return Ok(false);
        }
        self.table_elements = all;
        Ok(true)
    }
}

/// The memory of an instance, and what belongs to it.
fn parts<'c>(caller: &'c mut Caller<'_, Host>, of: &'static str) -> Result<(&'c mut [u8], &'c mut Host), Fault> {
    let memory = caller.data().memory.ok_or(Fault::Misplaced(of))?;
    Ok(memory.data_and_store_mut(caller))
}

fn slice(memory: &[u8], at: u32, length: u32) -> Result<&[u8], Fault> {
    memory.get(at as usize..).and_then(|rest| rest.get(..length as usize)).ok_or(Fault::Outside)
}

/// Writes bytes where there is room for them, and tells how many they are in any case.
fn write(memory: &mut [u8], at: u32, room: u32, bytes: &[u8]) -> Result<u32, Fault> {
    if bytes.len() <= room as usize {
        let to = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len())).ok_or(Fault::Outside)?;
        to.copy_from_slice(bytes);
    }
    Ok(u32::try_from(bytes.len()).expect("what a module is given is bounded"))
}

/// A line for people, as an instance has it.
fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|character| !character.is_control()).collect()
}

/// What a module is offered.
pub(super) fn imports(linker: &mut Linker<Host>) -> Result<(), Error> {
    linker.func_wrap(
        INTERFACE,
        "emit",
        |mut caller: Caller<'_, Host>, key: u32, key_length: u32, value: u32, value_length: u32| {
            let (memory, host) = parts(&mut caller, "emit")?;
            let (key, value) = (slice(memory, key, key_length)?, slice(memory, value, value_length)?);
            Ok(host.emit(key, value)?)
        },
    )?;
    linker.func_wrap(INTERFACE, "emit_all", |mut caller: Caller<'_, Host>, at: u32, length: u32| {
        let (memory, host) = parts(&mut caller, "emit_all")?;
        Ok(host.emit_all(memory.get(at as usize..).ok_or(Fault::Outside)?, length as usize)?)
    })?;
    linker.func_wrap(INTERFACE, "next", |mut caller: Caller<'_, Host>, at: u32, room: u32| {
        let (memory, host) = parts(&mut caller, "next")?;
        let ticks = host.ticks;
        let feed = host.feed.as_mut().filter(|_| host.at == At::Reduce).ok_or(Fault::Misplaced("next"))?;
        let Some(value) = feed.value().map_err(|_| Fault::Stopped)? else { return Ok(NONE) };
        let length = write(memory, at, room, value)?;
        if length <= room {
            feed.taken();
            // Taking more is a sign of life; asking how long it is, again and again, is none.
            host.ticks_left = ticks;
        }
        Ok(length)
    })?;
    linker.func_wrap(INTERFACE, "source", |mut caller: Caller<'_, Host>, at: u32, room: u32| {
        let (memory, host) = parts(&mut caller, "source")?;
        Ok(write(memory, at, room, &host.source)?)
    })?;
    linker.func_wrap(INTERFACE, "offset", |caller: Caller<'_, Host>| caller.data().offset)?;
    linker.func_wrap(
        INTERFACE,
        "setting",
        |mut caller: Caller<'_, Host>, name: u32, name_length: u32, at: u32, room: u32| {
            let (memory, host) = parts(&mut caller, "setting")?;
            let name = slice(memory, name, name_length)?;
            let found = std::str::from_utf8(name).ok().and_then(|name| host.terms.settings.get(name));
            match found {
                Some(value) => Ok(write(memory, at, room, value.as_bytes())?),
                None => Ok(NONE),
            }
        },
    )?;
    linker.func_wrap(INTERFACE, "refuse", |mut caller: Caller<'_, Host>, at: u32, length: u32| {
        let (memory, host) = parts(&mut caller, "refuse")?;
        let reason = slice(memory, at, length)?;
        let reason = &reason[..reason.len().min(2 * MAX_REASON_BYTES)];
        host.refused.get_or_insert_with(|| short_reason(line(reason)));
        Ok(())
    })?;
    linker.func_wrap(INTERFACE, "count", |mut caller: Caller<'_, Host>, at: u32, length: u32, more: u64| {
        let (memory, host) = parts(&mut caller, "count")?;
        let name = line(slice(memory, at, length.min(1 << 10))?);
        if host.counts.len() < COUNTED_NAMES || host.counts.contains_key(&name) {
            let count = host.counts.entry(name).or_default();
            *count = count.saturating_add(more);
        }
        Ok(())
    })?;
    linker.func_wrap(INTERFACE, "log", |mut caller: Caller<'_, Host>, at: u32, length: u32| {
        let (memory, host) = parts(&mut caller, "log")?;
        let said = slice(memory, at, length)?;
        if host.logged < LOGGED_LINES {
            host.logged += 1;
            tracing::info!(module = line(&said[..said.len().min(LOGGED_BYTES)]), "a program says");
        }
        Ok(())
    })?;
    Ok(())
}

/// An instance.
pub(super) struct Guest {
    store: Store<Host>,
    memory: Memory,
    reserve: TypedFunc<u32, u32>,
    map: TypedFunc<(u32, u32), ()>,
    map_all: Option<TypedFunc<(u32, u32), ()>>,
    combine: Option<TypedFunc<(u32, u32), u64>>,
    reduce: Option<TypedFunc<(u32, u32), ()>>,
    /// Where it takes what it is given, and how much of it.
    room: (u32, u32),
}

impl Guest {
    /// Begins one.
    pub(super) fn begin(compiled: &Compiled, terms: &Terms) -> Result<Self, CallError> {
        let memory_bytes = usize::try_from(compiled.memory_bytes).unwrap_or(usize::MAX);
        let ticks = terms.silence.as_millis() / TICK.as_millis();
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1);
        let host = Host { memory_bytes, terms: terms.clone(), ticks, ..Host::default() };
        let mut store = Store::new(compiled.instances.module().engine(), host);
        store.limiter(|host| host);
        store.epoch_deadline_callback(|mut context| {
            let host = context.data_mut();
            if host.terms.stop.load(Ordering::Relaxed) {
                return Err(Fault::Stopped.into());
            }
            host.ticks_left = host.ticks_left.checked_sub(1).ok_or(Fault::Silence)?;
            Ok(UpdateDeadline::Continue(1))
        });
        begin_to_count(&mut store);
        let instance = compiled.instances.instantiate(&mut store);
        let instance = instance.map_err(|error| failure(&mut store, &error))?;
        let memory = instance.get_memory(&mut store, "memory").expect("it was looked for");
        store.data_mut().memory = Some(memory);
        Ok(Self {
            memory,
            reserve: typed(&instance, &mut store, "reserve").expect("it was looked for"),
            map: typed(&instance, &mut store, "map").expect("it was looked for"),
            map_all: typed(&instance, &mut store, "map_all"),
            combine: typed(&instance, &mut store, "combine"),
            reduce: typed(&instance, &mut store, "reduce"),
            room: (0, 0),
            store,
        })
    }

    /// Gives it the pairs of which records, from now on.
    pub(super) fn source(&mut self, name: &[u8]) {
        let source = &mut self.store.data_mut().source;
        source.clear();
        source.extend_from_slice(name);
    }

    /// Where it takes so many bytes.
    fn room(&mut self, bytes: usize) -> Result<u32, CallError> {
        let wanted = u32::try_from(bytes).map_err(|_| CallError::Limit("there is too much to give it".to_owned()))?;
        if wanted > self.room.1 || self.room.1 == 0 {
            let wanted = wanted.max(1 << 10);
            let at = self.reserve.call(&mut self.store, wanted).map_err(|error| failure(&mut self.store, &error))?;
            self.room = (at, wanted);
        }
        Ok(self.room.0)
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), CallError> {
        let to = self.memory.data_mut(&mut self.store).get_mut(at as usize..);
        let to = to.and_then(|rest| rest.get_mut(..bytes.len()));
        let outside = || CallError::Trapped("its `reserve` names bytes outside its memory".to_owned());
        to.ok_or_else(outside)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Maps a record; its pairs are [`Guest::held`] then, but for short ones that may come in any order: these are
    /// [`Guest::short`]. What it refuses is told instead.
    pub(super) fn map(
        &mut self,
        record: &[u8],
        offset: u64,
        limit: u64,
        in_any_order: bool,
    ) -> Result<Option<String>, CallError> {
        self.store.data_mut().offset = offset;
        let map = self.map.clone();
        self.mapped(&map, record, limit, in_any_order)
    }

    /// Maps records, each behind its length in LEB128, in the same way but for their pairs, which may come in any order. A refusal
    /// or a failure does not tell of which record.
    pub(super) fn map_all(&mut self, records: &[u8], limit: u64) -> Result<Option<String>, CallError> {
        let map_all = self.map_all.clone().expect("who has none is not asked");
        self.mapped(&map_all, records, limit, true)
    }

    fn mapped(
        &mut self,
        map: &TypedFunc<(u32, u32), ()>,
        bytes: &[u8],
        limit: u64,
        in_any_order: bool,
    ) -> Result<Option<String>, CallError> {
        begin_to_count(&mut self.store);
        let host = self.store.data_mut();
        host.output = (limit, limit);
        host.in_any_order = in_any_order;
        host.held.clear();
        host.short.clear();
        host.counts.clear();
        let at = self.room(bytes.len())?;
        self.write(at, bytes)?;
        let length = u32::try_from(bytes.len()).expect("there was room for it");
        call(&mut self.store, At::Map, map, (at, length))?;
        Ok(self.store.data_mut().refused.take())
    }

    /// Pairs of the call before.
    pub(super) fn held(&self) -> &Held {
        &self.store.data().held
    }

    /// Short pairs of the call before, in any order.
    pub(super) fn short(&self) -> &[(ShortKey, Short)] {
        &self.store.data().short
    }

    /// What the call before has counted.
    pub(super) fn counts(&self) -> &BTreeMap<String, u64> {
        &self.store.data().counts
    }

    /// Puts into `sum` what the values of a list make together.
    pub(super) fn combine(&mut self, list: &[u8], sum: &mut Vec<u8>) -> Result<(), CallError> {
        begin_to_count(&mut self.store);
        let at = self.room(list.len())?;
        self.write(at, list)?;
        let length = u32::try_from(list.len()).expect("there was room for it");
        let combine = self.combine.as_ref().expect("who has none is not asked");
        let combined = call(&mut self.store, At::Combine, combine, (at, length))?;
        if let Some(reason) = self.store.data_mut().refused.take() {
            return Err(CallError::Trapped(reason));
        }
        let (at, length) = ((combined >> 32) as u32, combined as u32);
        if length as usize > MAX_PAIR_BYTES {
            return Err(CallError::Pair { bytes: length as usize });
        }
        let bytes = slice(self.memory.data(&self.store), at, length);
        let bytes = bytes.map_err(|fault| CallError::Trapped(fault.to_string()))?;
        sum.clear();
        sum.extend_from_slice(bytes);
        Ok(())
    }

    /// Reduces a key, whose values the feed gives, and which takes what is put out. What it refuses is told.
    pub(super) fn reduce(&mut self, key: &[u8], feed: Feed) -> (Feed, Result<Option<String>, CallError>) {
        begin_to_count(&mut self.store);
        let host = self.store.data_mut();
        host.output = (u64::MAX, u64::MAX);
        host.in_any_order = false;
        host.held.clear();
        host.counts.clear();
        host.feed = Some(feed);
        let mut reducing = || {
            let at = self.room(key.len())?;
            self.write(at, key)?;
            let length = u32::try_from(key.len()).expect("there was room for it");
            let reduce = self.reduce.as_ref().expect("who has none is not asked");
            call(&mut self.store, At::Reduce, reduce, (at, length))
        };
        let reduced = reducing();
        let host = self.store.data_mut();
        let mut feed = host.feed.take().expect("nobody else takes it");
        let reduced = reduced.and_then(|()| match host.refused.take() {
            Some(refused) => Ok(Some(refused)),
            None => feed.put_out(&mut host.held, true).map(|()| None).map_err(|_| CallError::Stopped),
        });
        (feed, reduced)
    }
}

fn call<P: WasmParams, R: WasmResults>(
    store: &mut Store<Host>,
    at: At,
    function: &TypedFunc<P, R>,
    params: P,
) -> Result<R, CallError> {
    store.data_mut().at = at;
    match function.call(&mut *store, params) {
        Ok(result) => Ok(result),
        Err(error) => Err(failure(store, &error)),
    }
}

/// From now on the time of a call is counted.
fn begin_to_count(store: &mut Store<Host>) {
    let host = store.data_mut();
    host.ticks_left = host.ticks;
    store.set_epoch_deadline(1);
}

fn typed<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<Host>,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    instance.get_typed_func(store, name).ok()
}

/// How a call failed.
fn failure(store: &mut Store<Host>, error: &Error) -> CallError {
    let host = store.data_mut();
    let silence = host.terms.silence;
    let refused = host.refused.take();
    match (error.downcast_ref::<Fault>(), error.downcast_ref::<Trap>()) {
        (Some(Fault::Stopped), _) => CallError::Stopped,
        (Some(Fault::Silence), _) => CallError::Limit(format!(
            "it ran for {} s without asking for more and was stopped (see --module-silence)",
            silence.as_secs_f32()
        )),
        (Some(Fault::Output { limit }), _) => CallError::Output { limit: *limit },
        (Some(Fault::Pair { bytes }), _) => CallError::Pair { bytes: *bytes },
        (_, Some(Trap::StackOverflow)) => CallError::Limit("its calls need more stack than there is".to_owned()),
        // What a program says of itself, as it fails, is worth more than how.
        _ => CallError::Trapped(refused.unwrap_or_else(|| match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        })),
    }
}
