//! JSON whose objects have every key once.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A value of JSON in which no object has a key twice. serde_json's own keeps the last of equal
/// keys, so that a slip of the pen would be placed, and not told.
#[derive(Debug)]
pub(super) struct Distinct(pub(super) Value);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Self)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Distinct(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if values.contains_key(&key) {
                // Said before the value is read, while the reader is still at the key.
                return Err(A::Error::custom(format_args!("{key:?} is said twice")));
            }
            let Distinct(value) = fields.next_value()?;
            values.insert(key, value);
        }
        Ok(values.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_equal_keys_is_read_as_ever() {
        let text = r#"[null, true, -1, 18446744073709551615, 2.5, 1e300, "ü\u0000",
            [], {}, {"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}]"#;
        let Distinct(value) = serde_json::from_str(text).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_key_that_is_there_twice_is_named_with_its_line() {
        for (text, key, line) in [
            ("{\"a\": 1,\n\"a\": 1}", r#""a""#, 2),
            (
                "[{\"a\": 1},\n{\"b\":\n{\"c\": 1, \"d\": 2,\n\"c\": 3}}]",
                r#""c""#,
                4,
            ),
            ("{\"a\": 1, \"b\": 2,\n\n\"\\u0061\" : 3}", r#""a""#, 3),
            (
                "{\"\\u001b[2J\": 1, \"\\u001b[2J\": 2}",
                r#""\u{1b}[2J""#,
                1,
            ),
        ] {
            let error = serde_json::from_str::<Distinct>(text).unwrap_err();
            assert!(error.is_data(), "{error}");
            assert_eq!(error.line(), line, "{error}");
            let told = error.to_string();
            assert!(
                told.starts_with(&format!("{key} is said twice at line")),
                "{told}"
            );
        }
    }

    #[test]
    fn what_is_no_json_is_told_apart_from_what_is_said_twice() {
        let deep = "[".repeat(1_000);
        for text in ["", "[1,]", "{\"a\"}", "[1e999]", deep.as_str()] {
            let error = serde_json::from_str::<Distinct>(text).unwrap_err();
            assert!(!error.is_data(), "{error}");
        }
    }
}
