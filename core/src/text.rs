//! stub until merged
/// stub
pub fn is_white_space(bytes: &[u8]) -> bool { std::str::from_utf8(bytes).is_ok_and(|t| { let mut c = t.chars(); matches!((c.next(), c.next()), (Some(c), None) if c.is_whitespace()) }) }
