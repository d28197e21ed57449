//! How intricate a module is, and with that what compiling it may take: refused is what would take minutes or gigabytes, of
//! whoever compiles it.
//!
//! It reads bytes and compiles nothing; what cannot be read here is the compiler's to refuse. What would surprise: the length of
//! a function counts little beside how often its ways part and meet, and how many values are carried along them; loops count most.
//! All prices are as measured on a processor of 2023, roughly.

use super::compiled::ModuleError;
use super::guest::TABLE_ELEMENTS;
use wasmparser::{BlockType, CompositeInnerType, ElementItems, FunctionBody, Operator, Parser, Payload, TypeRef};

/// Bytes of a function: some of them take nearly a kilobyte each to compile.
const MAX_BYTES: u64 = 256 << 10;
/// Places of a function where ways part or meet: blocks, branches, and each of a table's.
const MAX_JOINS: u64 = 20_000;
/// The same, times the values that may be carried there: each such pair takes some hundred bytes to compile.
const MAX_CARRIED: u64 = 4_000_000;
/// Loops of a function: each is held against each.
const MAX_LOOPS: u64 = 2_000;
/// Loops in loops.
const MAX_DEPTH: u64 = 100;
/// What all calls of a function give and take, each value with half a kilobyte.
const MAX_PASSED: u64 = 200_000;
/// Functions of a module, each with some ten kilobytes.
const MAX_FUNCTIONS: u64 = 20_000;
/// Parameters and results of all types: the compiler makes a way in for each type.
const MAX_WIDTH: u64 = 100_000;
/// Numbers and references that stand beside the functions.
const MAX_GLOBALS: u64 = 10_000;
/// How long all of it may take to compile.
const MAX_MICROSECONDS: u64 = 20_000_000;
const MICROSECONDS_OF_A_FUNCTION: u64 = 50;
const MICROSECONDS_OF_A_TYPE: u64 = 16;

/// What counts of one function.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extent {
    bytes: u64,
    joins: u64,
    loops: u64,
    /// Loops in loops, at the most.
    depth: u64,
    /// Parameters, locals, and what the widest block takes and gives.
    values: u64,
    /// What its calls give and take.
    passed: u64,
}

impl Extent {
    /// What is too much of it.
    fn excess(&self) -> Option<String> {
        let carried = self.joins.saturating_mul(self.values);
        let limits = [
            (self.bytes, MAX_BYTES, "bytes"),
            (self.joins, MAX_JOINS, "blocks and branches"),
            (carried, MAX_CARRIED, "blocks and branches times values"),
            (self.loops, MAX_LOOPS, "loops"),
            (self.depth, MAX_DEPTH, "loops in loops"),
            (self.passed, MAX_PASSED, "values that its calls give and take"),
        ];
        limits.into_iter().find_map(|(found, most, what)| too_many(found, most, what))
    }

    /// About how long compiling it takes, if nothing of it is too much.
    const fn microseconds(&self) -> u64 {
        let squared = self.loops * self.loops / 6 + self.joins * self.joins / 500;
        MICROSECONDS_OF_A_FUNCTION + self.bytes * 2 + self.joins * self.values / 2 + squared + self.passed * 3
    }
}

fn too_many(found: u64, most: u64, what: &str) -> Option<String> {
    (found > most).then(|| format!("{found} {what}, {most} are the most"))
}

/// What functions refer to.
#[derive(Default)]
struct Module {
    /// How many parameters and results each type has.
    widths: Vec<usize>,
    /// The type of each function, those that are imported first.
    functions: Vec<u32>,
    imported: usize,
}

impl Module {
    fn width(&self, of: u32) -> usize {
        self.widths.get(of as usize).copied().unwrap_or(0)
    }

    fn width_of_function(&self, number: u32) -> usize {
        self.functions.get(number as usize).map_or(0, |of| self.width(*of))
    }
}

/// Holds a module, and every function of it, against the limits.
pub(super) fn check(bytes: &[u8]) -> Result<(), ModuleError> {
    let whole = |excess: String| ModuleError::Intricate { what: "the module".to_owned(), excess };
    let mut module = Module::default();
    let (mut number, mut microseconds, mut elements) = (0_u32, 0, 0_u64);
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { return Ok(()) };
        let excess = match payload {
            Payload::TypeSection(types) => {
                for group in types.into_iter().flatten() {
                    module.widths.extend(group.types().map(|each| match &each.composite_type.inner {
                        CompositeInnerType::Func(function) => function.params().len() + function.results().len(),
                        _ => 0,
                    }));
                }
                let width = module.widths.iter().sum::<usize>() as u64;
                microseconds += width * MICROSECONDS_OF_A_TYPE;
                too_many(width, MAX_WIDTH, "parameters and results in its types")
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports().flatten() {
                    if let TypeRef::Func(of) = import.ty {
                        module.functions.push(of);
                    }
                }
                module.imported = module.functions.len();
                None
            }
            Payload::FunctionSection(types) => {
                module.functions.extend(types.into_iter().flatten());
                too_many(module.functions.len() as u64, MAX_FUNCTIONS, "functions")
            }
            Payload::GlobalSection(globals) => too_many(globals.count().into(), MAX_GLOBALS, "globals"),
            Payload::ElementSection(segments) => {
                for segment in segments.into_iter().flatten() {
                    elements += u64::from(match segment.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    });
                }
                too_many(elements, TABLE_ELEMENTS as u64, "elements")
            }
            Payload::CodeSectionEntry(body) => {
                let Some(extent) = extent(&body, number, &module) else { return Ok(()) };
                if let Some(excess) = extent.excess() {
                    let number = module.imported + number as usize;
                    return Err(ModuleError::Intricate { what: format!("function {number} of the module"), excess });
                }
                microseconds += extent.microseconds();
                number += 1;
                None
            }
            _ => None,
        };
        let slow = (microseconds > MAX_MICROSECONDS)
            .then(|| format!("compiling it takes more than some {} s", MAX_MICROSECONDS / 1_000_000));
        if let Some(excess) = excess.or(slow) {
            return Err(whole(excess));
        }
    }
    Ok(())
}

/// What counts of a function, the one of this number of those that are not imported; nothing if it cannot be read.
fn extent(body: &FunctionBody<'_>, number: u32, module: &Module) -> Option<Extent> {
    let mut locals = module.functions.get(module.imported + number as usize).map_or(0, |of| module.width(*of)) as u64;
    for group in body.get_locals_reader().ok()? {
        locals = locals.saturating_add(group.ok()?.0.into());
    }
    let mut extent = Extent { bytes: body.range().len() as u64, ..Extent::default() };
    // Whether each open block is a loop.
    let (mut open, mut depth, mut widest) = (Vec::new(), 0, 0);
    for operator in body.get_operators_reader().ok()? {
        let mut begins = |kind: BlockType, is_loop: bool| {
            open.push(is_loop);
            extent.joins += 1;
            if is_loop {
                extent.loops += 1;
                depth += 1;
                extent.depth = extent.depth.max(depth);
            }
            widest = widest.max(match kind {
                BlockType::Empty => 0,
                BlockType::Type(_) => 1,
                BlockType::FuncType(of) => module.width(of),
            });
        };
        match operator.ok()? {
            Operator::Loop { blockty } => begins(blockty, true),
            Operator::Block { blockty } | Operator::If { blockty } => begins(blockty, false),
            Operator::BrTable { targets } => extent.joins += 1 + u64::from(targets.len()),
            Operator::Else | Operator::Br { .. } | Operator::BrIf { .. } => extent.joins += 1,
            Operator::Call { function_index: called } | Operator::ReturnCall { function_index: called } => {
                extent.passed += module.width_of_function(called) as u64;
            }
            Operator::CallIndirect { type_index: of, .. } | Operator::ReturnCallIndirect { type_index: of, .. } => {
                extent.passed += module.width(of) as u64;
            }
            Operator::End if open.pop() == Some(true) => depth -= 1,
            _ => {}
        }
    }
    extent.values = locals.saturating_add(widest as u64);
    Some(extent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused of a module with a function of this body; nothing if it is taken.
    fn refused(locals: usize, body: &str) -> Option<String> {
        let text = format!("(module (func) (func {} {body}))", "(local i32)".repeat(locals));
        check(&wat::parse_str(text).unwrap()).err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_intricate_is_counted() {
        let text = "(module
            (type $wide (func (param i32 i32) (result i32 i32 i32)))
            (func (param i64 i64) (result i64) (local i32 f64)
                (loop (block (loop (br_if 0 (i32.const 1)))) (br_table 0 0 1 (i32.const 1)))
                (if (i32.const 1) (then (br 0)) (else (nop)))
                (i32.const 1) (i32.const 2) (block (type $wide) (unreachable)) (drop) (drop) (drop)
                (i64.const 1)))";
        let bytes = wat::parse_str(text).unwrap();
        let body = Parser::new(0).parse_all(&bytes).find_map(|payload| match payload.unwrap() {
            Payload::CodeSectionEntry(body) => Some(body),
            _ => None,
        });
        let module = Module { widths: vec![5, 3], functions: vec![1], imported: 0 };
        let found = extent(&body.unwrap(), 0, &module).unwrap();
        // Two loops, a block, a branch, a table of three and itself, if, else and a branch in it, the wide block.
        assert_eq!((found.joins, found.loops, found.depth, found.values), (11, 2, 2, 3 + 2 + 5));
        assert!(check(&bytes).is_ok());
    }

    #[test]
    fn what_would_take_too_long_to_compile_is_refused_by_its_function() {
        let said = |body: String, locals: usize| refused(locals, &body).unwrap();
        assert_eq!(refused(10, &"(loop (br_if 0 (i32.const 1)))".repeat(1000)), None);
        let loops = said("(loop)".repeat(2001), 0);
        assert!(loops.contains("function 1") && loops.contains("2001 loops, 2000 are the most"), "{loops}");
        let nested = said(format!("{}{}", "(loop ".repeat(101), ")".repeat(101)), 0);
        assert!(nested.contains("101 loops in loops"), "{nested}");
        let blocks = said("(block)".repeat(20_001), 0);
        assert!(blocks.contains("20001 blocks and branches"), "{blocks}");
        let arms = said(format!("(br_table {} (i32.const 1))", "0 ".repeat(20_001)), 0);
        assert!(arms.contains("blocks and branches"), "{arms}");
        let long = said("(nop)".repeat(262_144), 0);
        assert!(long.contains(" bytes, 262144 are the most"), "{long}");
        let carried = said("(block)".repeat(5000), 1000);
        assert!(carried.contains("5000000 blocks and branches times values"), "{carried}");
    }

    #[test]
    fn what_a_module_has_beside_its_functions_is_counted() {
        let whole = |text: String| {
            check(&wat::parse_str(format!("(module {text})")).unwrap()).err().map(|error| error.to_string())
        };
        let wide = format!("(func (result {}))", "i32 ".repeat(1000));
        let said = |text: String| whole(text).unwrap();
        assert_eq!(whole(format!("(type {wide})")), None);
        // Calls put a thousand values there each; no value is left at the end.
        let calls = format!(
            "(type $w {wide}) (import \"a\" \"b\" (func $f (type $w))) (func {} unreachable)",
            "call $f ".repeat(201)
        );
        // As tools number it, behind what is imported.
        assert!(said(calls.clone()).contains("function 1 of the module"), "{}", said(calls.clone()));
        assert!(said(calls).contains("201000 values that its calls give and take, 200000 are the most"));
        let indirect = format!(
            "(type $w {wide}) (table 1 funcref) (func {} unreachable)",
            "i32.const 0 call_indirect (type $w) ".repeat(201)
        );
        assert!(said(indirect).contains("201000 values"));
        let types: String = (0..101)
            .map(|number| format!("(type (func (param {}) (result {})))", "i64 ".repeat(number), "i32 ".repeat(1000)))
            .collect();
        assert!(said(types).contains("parameters and results in its types, 100000 are the most"));
        assert!(said("(func)".repeat(20_001)).contains("20001 functions, 20000 are the most"));
        assert!(said("(global i32 (i32.const 0))".repeat(10_001)).contains("10001 globals"));
        for items in ["funcref (ref.null func)", "func 0"] {
            let (kind, item) = items.split_once(' ').unwrap();
            let elements = format!("(func) (elem {kind} {})", format!("{item} ").repeat(131_073));
            assert!(said(elements).contains("131073 elements, 131072 are the most"), "{kind}");
        }
    }

    #[test]
    fn many_functions_are_too_many_together() {
        let one = format!("(func {} {})", "(local i32)".repeat(200), "(block)".repeat(20_000));
        let of = |functions: usize| check(&wat::parse_str(format!("(module {})", one.repeat(functions))).unwrap());
        assert!(of(5).is_ok());
        assert!(of(12).unwrap_err().to_string().contains("compiling it takes more than some 20 s"));
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_compiler() {
        assert!(check(b"no module").is_ok());
        let mut bytes = wat::parse_str("(module (func (block)))").unwrap();
        bytes.truncate(bytes.len() - 2);
        assert!(check(&bytes).is_ok());
    }
}
