//! Fields as they come: what cannot be read counts as absent, and an id may be text or a number.

use serde::{Deserialize as _, Deserializer, de::DeserializeOwned};
use serde_json::Value;

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

pub(super) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(from)?;
    number(&value).ok_or_else(|| serde::de::Error::custom("an id is missing or not a number"))
}

pub(super) fn maybe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(number(&Value::deserialize(from)?))
}

pub(super) fn bits<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(number(&Value::deserialize(from)?).unwrap_or_default())
}

pub(super) fn ids<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(number)
        .collect())
}

/// What cannot be read counts as absent.
pub(super) fn lenient<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

/// Those of a list that can be read.
pub(super) fn each<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let Value::Array(items) = Value::deserialize(from)? else {
        return Ok(Vec::new());
    };
    let read = items
        .into_iter()
        .filter_map(|item| serde_json::from_value(item).ok());
    Ok(read.collect())
}
