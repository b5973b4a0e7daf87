//! Text to a tree, with bounds: no key stands twice, `<<` is merged, and aliases cannot multiply into
//! more than a person would write.

use std::{cell::Cell, fmt, path::Path};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{ConfigError, secrets};

/// The most values that a file may unfold to.
const MOST_VALUES: usize = 100_000;

/// The most bytes of text that a file may unfold to.
const MOST_BYTES: usize = 8 << 20;

/// Characters of a line that are shown with a mistake.
const LONGEST_EXCERPT: usize = 120;

/// Reads a JSON file.
pub(super) fn json(path: &Path, text: &str) -> Result<Value, ConfigError> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let spent = Spent::default();
    let mut from = serde_json::Deserializer::from_str(text);
    let node = Node {
        spent: &spent,
        merges: false,
    };
    let read = node.deserialize(&mut from);
    read.and_then(|tree| from.end().map(|()| tree))
        .map_err(|e| syntax(path, text, (e.line(), e.column()), &plain(&e.to_string())))
}

/// Reads a YAML file.
pub(super) fn yaml(path: &Path, text: &str) -> Result<Value, ConfigError> {
    let spent = Spent::default();
    let node = Node {
        spent: &spent,
        merges: true,
    };
    if text
        .lines()
        .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
    {
        return Ok(Value::Null);
    }
    let read = node.deserialize(serde_yaml::Deserializer::from_str(text));
    read.map_err(|e| {
        let at = e.location().map_or((1, 1), |l| (l.line(), l.column()));
        let mut message = plain(&e.to_string());
        if message.contains("repetition limit") {
            TOO_MUCH.clone_into(&mut message);
        }
        syntax(path, text, at, &message)
    })
}

const TOO_MUCH: &str = "this unfolds to more than a configuration can hold; its aliases multiply";

/// A value that was written as YAML in a variable.
pub(super) fn scalar(text: &str) -> Option<Value> {
    let spent = Spent::default();
    let node = Node {
        spent: &spent,
        merges: false,
    };
    node.deserialize(serde_yaml::Deserializer::from_str(text))
        .ok()
}

/// What a file unfolded to so far.
#[derive(Default)]
struct Spent {
    values: Cell<usize>,
    bytes: Cell<usize>,
}

impl Spent {
    fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        self.values.set(self.values.get().saturating_add(1));
        self.bytes.set(self.bytes.get().saturating_add(bytes));
        if self.values.get() > MOST_VALUES || self.bytes.get() > MOST_BYTES {
            return Err(E::custom(TOO_MUCH));
        }
        Ok(())
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Node<'a> {
    spent: &'a Spent,
    merges: bool,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list, a text, a number, true, false or null, without a tag")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.spent.spend(0).map(|()| Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.spent.spend(0).map(|()| value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.spent.spend(0).map(|()| value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.spent.spend(0).map(|()| value.into())
    }

    /// No setting is that large: a key that is all digits.
    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.spent.spend(0)?;
        let number = serde_json::Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("this is not a number that can be used here"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.spent.spend(value.len()).map(|()| value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.spent.spend(0)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.spent.spend(0)?;
        let mut tree = Map::new();
        while let Some(key) = map.next_key_seed(Key {
            spent: self.spent,
            there: &tree,
        })? {
            let value = map.next_value_seed(self)?;
            tree.insert(key, value);
        }
        if self.merges
            && let Some(merged) = tree.shift_remove("<<")
        {
            merge(&mut tree, merged).map_err(A::Error::custom)?;
        }
        Ok(Value::Object(tree))
    }
}

/// What stands in the mapping itself goes before what is merged in, and the first of a list before
/// the second.
fn merge(tree: &mut Map<String, Value>, merged: Value) -> Result<(), &'static str> {
    match merged {
        Value::Object(merged) => {
            for (key, value) in merged {
                tree.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            items.into_iter().try_for_each(|item| merge(tree, item))
        }
        _ => Err("`<<` takes a mapping or a list of mappings"),
    }
}

/// Reads one key: whatever it is, as text.
struct Key<'a> {
    spent: &'a Spent,
    there: &'a Map<String, Value>,
}

impl Key<'_> {
    fn take<E: Error>(self, key: String) -> Result<String, E> {
        self.spent.spend(key.len())?;
        if self.there.contains_key(&key) {
            return Err(E::custom(format!("the key `{key}` stands here twice")));
        }
        Ok(key)
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        self.take("null".to_owned())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        self.take(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        self.take(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        self.take(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        self.take(value.to_string())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        self.take(value.to_owned())
    }
}

/// Parsers repeat the place at the end of their message.
fn plain(message: &str) -> String {
    message
        .split(" at line ")
        .next()
        .unwrap_or(message)
        .to_owned()
}

/// A mistake at a place; a line that may hold a secret is shown up to its colon.
pub(super) fn syntax(
    path: &Path,
    text: &str,
    (line, column): (usize, usize),
    message: &str,
) -> ConfigError {
    let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let excerpt = if secrets::may_be_on_line(text, line) {
        let key = shown.split(':').next().unwrap_or_default();
        format!("  {key}: {}", crate::types::secret::MASKED)
    } else {
        // A file that is one long line: what stands before the place.
        let start = column.saturating_sub(LONGEST_EXCERPT);
        let shown: String = shown.chars().skip(start).take(LONGEST_EXCERPT).collect();
        let before = column.saturating_sub(1 + start);
        let mark = " ".repeat(before.min(shown.chars().count()));
        format!("  {shown}\n  {mark}^")
    };
    ConfigError::Syntax {
        path: path.to_owned(),
        line,
        column,
        message: message.to_owned(),
        excerpt,
    }
}
