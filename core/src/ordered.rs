//! A byte form for typed keys that orders as the values do.
//!
//! A key's order is that of its bytes, everywhere. What would surprise: every form tells where it ends, so that a tuple is its
//! fields' forms one after the other, and orders by the first field, then by the next.
//!
//! | type | form | order |
//! |---|---|---|
//! | `bool`, `u8` … `u128` | its bytes, most significant first | by size |
//! | `i64`, `i128` | as `u64` and `u128`, with the sign bit turned | by size |
//! | `String`, `Vec<u8>` | its bytes, a zero as `00 ff`, then `00 00` | by bytes; of text that is by code point |
//! | `Option` | `00`, or `01` and the form | `None` first |
//! | [`Descending`] | the form, every bit turned | the other way round |
//! | tuples | one form after the other | by the first field, then by the next |
//! | `()` | nothing | – |

use crate::job::{Value, ValueError};
use crate::key;

/// A type with such a form.
pub trait Ordered: Sized + Send + Sync + 'static {
    /// Appends the form.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes a form off the front; `None` if none begins there.
    fn take(bytes: &mut &[u8]) -> Option<Self>;

    /// Passes over a form; `None` if none begins there.
    fn skip(bytes: &mut &[u8]) -> Option<()> {
        Self::take(bytes).map(drop)
    }

    /// Bytes it holds besides its own size, about.
    fn heap_bytes(&self) -> usize {
        0
    }

    /// Appends what people see of it.
    fn show(&self, out: &mut Vec<u8>);

    /// The form.
    fn form(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// Reads a form that is all of `bytes`.
    fn read(mut bytes: &[u8]) -> Option<Self> {
        Self::take(&mut bytes).filter(|_| bytes.is_empty())
    }
}

/// Orders the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Descending<T>(pub T);

/// A value of any type that has an ordered form, in that form. It merges by nothing in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain<T>(pub T);

impl<T: Ordered + Clone + Default + std::fmt::Debug> Value for Plain<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        T::read(bytes).map(Self).ok_or(ValueError("its form is not that of its type"))
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Ordered for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn show(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.to_string().as_bytes());
            }

            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let (number, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_be_bytes(*number))
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, u128);

macro_rules! signed_numbers {
    ($($number:ty as $unsigned:ty),*) => {$(
        impl Ordered for $number {
            fn put(&self, out: &mut Vec<u8>) {
                (self.cast_unsigned() ^ 1 << (<$unsigned>::BITS - 1)).put(out);
            }

            fn show(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.to_string().as_bytes());
            }

            fn take(bytes: &mut &[u8]) -> Option<Self> {
                <$unsigned>::take(bytes).map(|number| (number ^ 1 << (<$unsigned>::BITS - 1)).cast_signed())
            }
        }
    )*};
}
signed_numbers!(i64 as u64, i128 as u128);

impl Ordered for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn show(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        u8::take(bytes).filter(|byte| *byte <= 1).map(|byte| byte == 1)
    }
}

impl Ordered for Vec<u8> {
    fn put(&self, out: &mut Vec<u8>) {
        key::put_part(out, self);
    }

    fn show(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (part, rest) = key::split_part(bytes)?;
        *bytes = rest;
        Some(key::read_part(part).into_owned())
    }

    fn skip(bytes: &mut &[u8]) -> Option<()> {
        *bytes = key::split_part(bytes)?.1;
        Some(())
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl Ordered for String {
    fn put(&self, out: &mut Vec<u8>) {
        key::put_part(out, self.as_bytes());
    }

    fn show(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Self::from_utf8(Vec::take(bytes)?).ok()
    }

    fn skip(bytes: &mut &[u8]) -> Option<()> {
        Vec::skip(bytes)
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl<T: Ordered> Ordered for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        self.iter().for_each(|inner| inner.put(out));
    }

    fn show(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|inner| inner.show(out));
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        if bool::take(bytes)? { T::take(bytes).map(Some) } else { Some(None) }
    }

    fn skip(bytes: &mut &[u8]) -> Option<()> {
        if bool::take(bytes)? { T::skip(bytes) } else { Some(()) }
    }

    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, T::heap_bytes)
    }
}

impl<T: Ordered> Ordered for Descending<T> {
    fn put(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        self.0.put(out);
        out[begin..].iter_mut().for_each(|byte| *byte = !*byte);
    }

    fn show(&self, out: &mut Vec<u8>) {
        self.0.show(out);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let turned: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        let mut rest = turned.as_slice();
        let inner = T::take(&mut rest)?;
        *bytes = &bytes[bytes.len() - rest.len()..];
        Some(Self(inner))
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl Ordered for () {
    fn put(&self, _: &mut Vec<u8>) {}

    fn show(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

macro_rules! tuples {
    ($(($($field:ident $place:tt),+)),+) => {$(
        impl<$($field: Ordered),+> Ordered for ($($field,)+) {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$place.put(out);)+
            }

            fn show(&self, out: &mut Vec<u8>) {
                $(
                    if $place > 0 {
                        out.push(b' ');
                    }
                    self.$place.show(out);
                )+
            }

            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Some(($($field::take(bytes)?,)+))
            }

            fn skip(bytes: &mut &[u8]) -> Option<()> {
                $($field::skip(bytes)?;)+
                Some(())
            }

            fn heap_bytes(&self) -> usize {
                0 $(+ self.$place.heap_bytes())+
            }
        }
    )+};
}
tuples!((A 0, B 1), (A 0, B 1, C 2), (A 0, B 1, C 2, D 3));

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;
    use std::fmt::Debug;

    fn orders_and_reads_back<T: Ordered + PartialEq + Debug>(left: &T, right: &T, order: Ordering) {
        assert_eq!(left.form().cmp(&right.form()), order, "{left:?} {right:?}");
        assert_eq!(T::read(&left.form()).as_ref(), Some(left));
        let joined = [left.form(), right.form()].concat();
        let mut rest = joined.as_slice();
        assert_eq!(T::skip(&mut rest), Some(()));
        assert_eq!(rest, right.form(), "a form tells where it ends");
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0, 1, b'a', 0xfe, 0xff]), 0..5)
    }

    proptest! {
        #[test]
        fn forms_order_as_values_do(
            numbers: (u64, u64), signed: (i64, i64), large: (i128, i128), texts in (text(), text()), strings: (String, String),
            options in (prop::option::of(text()), prop::option::of(text())),
        ) {
            orders_and_reads_back(&numbers.0, &numbers.1, numbers.0.cmp(&numbers.1));
            orders_and_reads_back(&signed.0, &signed.1, signed.0.cmp(&signed.1));
            orders_and_reads_back(&large.0, &large.1, large.0.cmp(&large.1));
            orders_and_reads_back(&texts.0, &texts.1, texts.0.cmp(&texts.1));
            orders_and_reads_back(&strings.0, &strings.1, strings.0.cmp(&strings.1));
            orders_and_reads_back(&options.0, &options.1, options.0.cmp(&options.1));
            let (left, right) = ((texts.0, signed.0, numbers.0), (texts.1, signed.1, numbers.1));
            orders_and_reads_back(&left, &right, left.cmp(&right));
            let (left, right) = (Descending(options.0), Descending(options.1));
            orders_and_reads_back(&left, &right, right.0.cmp(&left.0));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            type All = ((Vec<u8>, Option<String>), (bool, i64), Descending<(u8, Vec<u8>)>);
            if let Some(all) = All::read(&bytes) {
                prop_assert_eq!(all.form(), bytes, "a value has one form");
            }
        }
    }

    #[test]
    fn a_boolean_has_two_forms_only() {
        assert_eq!(bool::read(&[2]), None);
        orders_and_reads_back(&false, &true, Ordering::Less);
    }
}
