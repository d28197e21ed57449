//! A module, compiled once for this process, and held against the interface that `docs/programs.md` describes.
//!
//! What would surprise: whatever could make two machines differ is switched off or made the same, as floating-point numbers that
//! are none; and a thread of its own counts the time of everything that runs, as nothing that runs can be asked.

use super::extent;
use super::guest::{Host, imports};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime::{Config, Engine, ExternType, FuncType, InstancePre, Linker, Module, ValType};

/// How exactly time is told.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// What calls of a module may have on the stack, in bytes.
const STACK_BYTES: usize = 512 << 10;
/// The longest module, in bytes: what is longer takes minutes to compile.
pub(super) const MAX_MODULE_BYTES: u64 = 16 << 20;

/// Where a module asks for what it is offered.
pub(super) const INTERFACE: &str = "rabbit_reduce_1";

/// Why a module cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// It is larger than is worth a try.
    #[error("the module has {bytes} bytes, at most {MAX_MODULE_BYTES} are compiled: leave out what it does not need")]
    Large {
        /// Its size.
        bytes: u64,
    },
    /// Compiling it would take minutes, or gigabytes.
    #[error(
        "{what} is too intricate to be compiled where others wait ({excess}): split it, or have it optimised for size"
    )]
    Intricate {
        /// The module, or which of its functions, those that are imported first.
        what: String,
        /// What there is too much of.
        excess: String,
    },
    /// It is no module, or damaged, or asks for what is switched off.
    #[error("it is no WebAssembly module that can be used: {0}")]
    Invalid(String),
    /// It lacks a function.
    #[error("the module exports no `{name}` {what}")]
    Export {
        /// Its name.
        name: &'static str,
        /// What it should be.
        what: String,
    },
    /// It needs what there is not.
    #[error(
        "the module needs `{name}` of `{module}`, which nobody offers: there is nothing but `{INTERFACE}` (build it for wasm32-unknown-unknown)"
    )]
    Import {
        /// Where it asks for it.
        module: String,
        /// Its name.
        name: String,
    },
    /// It does not begin.
    #[error("the module cannot be begun: {0}")]
    Begin(String),
}

/// A module ready to be run.
pub(super) struct Compiled {
    pub(super) instances: InstancePre<Host>,
    /// It maps many records in one call, and none of them asks where it is.
    pub(super) maps_all: bool,
    /// It has a `combine`.
    pub(super) combines: bool,
    /// It has a `reduce`.
    pub(super) reduces: bool,
    /// What an instance may take.
    pub(super) memory_bytes: u64,
}

/// How many ticks there were; while a module runs, one more each [`TICK`].
pub(super) fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

static TICKS: AtomicU64 = AtomicU64::new(0);

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.epoch_interruption(true).max_wasm_stack(STACK_BYTES);
        config.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
        config.wasm_memory64(false).wasm_multi_memory(false);
        let engine = Engine::new(&config).expect("nothing in it contradicts itself");
        let counted = engine.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(TICK);
                counted.increment_epoch();
                TICKS.fetch_add(1, Ordering::Relaxed);
            }
        });
        engine
    })
}

impl Compiled {
    /// Compiles a module and looks at what it exports and needs.
    pub(super) fn of(bytes: &[u8], memory_bytes: u64) -> Result<Self, ModuleError> {
        if bytes.len() as u64 > MAX_MODULE_BYTES {
            return Err(ModuleError::Large { bytes: bytes.len() as u64 });
        }
        extent::check(bytes)?;
        let invalid = |error: wasmtime::Error| ModuleError::Invalid(format!("{error:#}"));
        let module = Module::from_binary(engine(), bytes).map_err(invalid)?;
        if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
            return Err(ModuleError::Export { name: "memory", what: "(its memory)".to_owned() });
        }
        let (i32, i64) = (ValType::I32, ValType::I64);
        needs(&module, "reserve", &[&i32], &[&i32])?;
        needs(&module, "map", &[&i32; 2], &[])?;
        let has_map_all = module.get_export("map_all").is_some();
        if has_map_all {
            needs(&module, "map_all", &[&i32; 2], &[])?;
        }
        let asks_where = module.imports().any(|import| import.name() == "offset");
        let combines = module.get_export("combine").is_some();
        if combines {
            needs(&module, "combine", &[&i32; 2], &[&i64])?;
        }
        let reduces = module.get_export("reduce").is_some();
        if reduces {
            needs(&module, "reduce", &[&i32; 2], &[])?;
        }
        let mut linker = Linker::new(engine());
        imports(&mut linker).expect("names are given once");
        for import in module.imports() {
            if linker.get_by_import(&mut wasmtime::Store::new(engine(), Host::default()), &import).is_none() {
                let (module, name) = (import.module().to_owned(), import.name().to_owned());
                return Err(ModuleError::Import { module, name });
            }
        }
        let instances = linker.instantiate_pre(&module).map_err(invalid)?;
        Ok(Self { instances, maps_all: has_map_all && !asks_where, combines, reduces, memory_bytes })
    }
}

impl Compiled {
    /// Whether its result is made of combined pairs as they are.
    pub(super) const fn gives_combined(&self) -> bool {
        self.combines && !self.reduces
    }
}

/// Whether a module exports such a function.
fn needs(module: &Module, name: &'static str, takes: &[&ValType], gives: &[&ValType]) -> Result<(), ModuleError> {
    let listed = |types: &[&ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let missing = || {
        let what = format!("(a function of ({}) that gives ({}))", listed(takes), listed(gives));
        ModuleError::Export { name, what }
    };
    let Some(ExternType::Func(found)) = module.get_export(name) else { return Err(missing()) };
    let wanted = FuncType::new(engine(), takes.iter().copied().cloned(), gives.iter().copied().cloned());
    if FuncType::eq(&found, &wanted) { Ok(()) } else { Err(missing()) }
}
