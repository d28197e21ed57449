//! Values of lines of JSON, without keeping anything else of them.

use crate::job::RecordError;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The value behind names in a line of JSON: the text of a string, or else the JSON itself. `None` if it is not there, or null.
pub(super) fn value<'r>(line: &'r [u8], names: &[String]) -> Result<Option<Cow<'r, [u8]>>, RecordError> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let refused = |error: serde_json::Error| {
        // Which line it is of all input, only the place of the record tells.
        let told = error.to_string();
        let told = told.split(" at line ").next().unwrap_or_default();
        RecordError::new(format!("it is no JSON object: {told}, at its byte {}", error.column()))
    };
    let mut found: Option<&'r RawValue> = None;
    for name in names {
        let pick = Pick(name);
        let picked = match found {
            None => {
                let mut json = serde_json::Deserializer::from_slice(line);
                pick.deserialize(&mut json).and_then(|picked| json.end().map(|()| picked)).map_err(refused)?
            }
            Some(raw) => {
                let mut json = serde_json::Deserializer::from_str(raw.get());
                match (raw.get().as_bytes().first(), name.parse()) {
                    (Some(b'{'), _) => pick.deserialize(&mut json),
                    (Some(b'['), Ok(at)) => json.deserialize_seq(Nth(at)),
                    // What is neither an object nor a list has no fields.
                    _ => return Ok(None),
                }
                .map_err(refused)?
            }
        };
        match picked {
            None => return Ok(None),
            picked => found = picked,
        }
    }
    let Some(text) = found.map(RawValue::get).filter(|text| *text != "null") else { return Ok(None) };
    let bytes = text.as_bytes();
    Ok(Some(match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        None => Cow::Borrowed(bytes),
        Some(inside) if !inside.contains('\\') => Cow::Borrowed(inside.as_bytes()),
        Some(_) => Cow::Owned(serde_json::from_str::<String>(text).map_err(refused)?.into_bytes()),
    }))
}

/// Picks the value of a name out of an object: the last, if there are several.
struct Pick<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(IsIt(wanted)) = map.next_key_seed(Name(self.0))? {
            if wanted {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Picks the value at a place of a list.
struct Nth(usize);

impl<'de> Visitor<'de> for Nth {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut at, mut found) = (0, None);
        while let Some(value) = list.next_element::<&RawValue>()? {
            if at == self.0 {
                found = Some(value);
            }
            at += 1;
        }
        Ok(found)
    }
}

/// Compares a name, without keeping it.
struct Name<'n>(&'n str);

struct IsIt(bool);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = IsIt;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<IsIt, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = IsIt;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<IsIt, E> {
        Ok(IsIt(name == self.0))
    }
}
