//! How intricate a module's functions are, and with that what compiling them may take: refused is what would take minutes or
//! gigabytes, of whoever compiles it.
//!
//! It reads bytes and compiles nothing; what cannot be read here is the compiler's to refuse. What would surprise: the length of
//! a function counts little beside how often its ways part and meet, and how many values are carried along them; loops count most.

use super::compiled::ModuleError;
use wasmparser::{BlockType, CompositeInnerType, FunctionBody, Operator, Parser, Payload};

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
/// All of that for a module, in microseconds as measured on a processor of 2023, roughly.
const MAX_MICROSECONDS: u64 = 20_000_000;

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
        ];
        let excess = limits.into_iter().find(|(found, most, _)| found > most);
        excess.map(|(found, most, what)| format!("{found} {what}, {most} are the most"))
    }

    /// About how long compiling it takes.
    const fn microseconds(&self) -> u64 {
        let squared = self.loops * self.loops / 6 + self.joins * self.joins / 500;
        self.bytes * 2 + self.joins * self.values / 2 + squared
    }
}

/// Holds every function of a module against the limits.
pub(super) fn check(module: &[u8]) -> Result<(), ModuleError> {
    let (mut widths, mut functions) = (Vec::new(), Vec::new());
    let (mut number, mut all) = (0_usize, 0_u64);
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::TypeSection(types)) => {
                for group in types.into_iter().flatten() {
                    widths.extend(group.types().map(|each| match &each.composite_type.inner {
                        CompositeInnerType::Func(function) => function.params().len() + function.results().len(),
                        _ => 0,
                    }));
                }
            }
            Ok(Payload::FunctionSection(types)) => functions.extend(types.into_iter().flatten()),
            Ok(Payload::CodeSectionEntry(body)) => {
                let own = functions.get(number).and_then(|of| widths.get(*of as usize)).copied().unwrap_or(0);
                let Some(extent) = extent(&body, own, &widths) else { return Ok(()) };
                let intricate = |excess: String| ModuleError::Intricate { function: number, excess };
                if let Some(excess) = extent.excess() {
                    return Err(intricate(excess));
                }
                all += extent.microseconds();
                if all > MAX_MICROSECONDS {
                    let seconds = MAX_MICROSECONDS / 1_000_000;
                    return Err(intricate(format!("all up to it take more than some {seconds} s to compile")));
                }
                number += 1;
            }
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// What counts of a function; nothing if it cannot be read.
fn extent(body: &FunctionBody<'_>, own: usize, widths: &[usize]) -> Option<Extent> {
    let mut locals = own as u64;
    for group in body.get_locals_reader().ok()? {
        locals = locals.saturating_add(group.ok()?.0.into());
    }
    let mut extent = Extent { bytes: body.range().len() as u64, ..Extent::default() };
    // Whether each open block is a loop.
    let (mut open, mut depth, mut widest) = (Vec::new(), 0, 0);
    for operator in body.get_operators_reader().ok()? {
        let (joins, begun) = match operator.ok()? {
            Operator::Loop { blockty } => (1, Some((blockty, true))),
            Operator::Block { blockty } | Operator::If { blockty } => (1, Some((blockty, false))),
            Operator::BrTable { targets } => (1 + u64::from(targets.len()), None),
            Operator::Else | Operator::Br { .. } | Operator::BrIf { .. } => (1, None),
            Operator::End => {
                if open.pop() == Some(true) {
                    depth -= 1;
                }
                (0, None)
            }
            _ => (0, None),
        };
        extent.joins += joins;
        if let Some((kind, is_loop)) = begun {
            open.push(is_loop);
            if is_loop {
                extent.loops += 1;
                depth += 1;
                extent.depth = extent.depth.max(depth);
            }
            let width = match kind {
                BlockType::Empty => 0,
                BlockType::Type(_) => 1,
                BlockType::FuncType(of) => widths.get(of as usize).copied().unwrap_or(0),
            };
            widest = widest.max(width);
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
        let found = extent(&body.unwrap(), 3, &[5]).unwrap();
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
    fn many_functions_are_too_many_together() {
        let one = format!("(func {} {})", "(local i32)".repeat(200), "(block)".repeat(20_000));
        let of = |functions: usize| check(&wat::parse_str(format!("(module {})", one.repeat(functions))).unwrap());
        assert!(of(5).is_ok());
        assert!(of(12).unwrap_err().to_string().contains("take more than some 20 s to compile"));
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_compiler() {
        assert!(check(b"no module").is_ok());
        let mut bytes = wat::parse_str("(module (func (block)))").unwrap();
        bytes.truncate(bytes.len() - 2);
        assert!(check(&bytes).is_ok());
    }
}
