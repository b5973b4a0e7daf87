//! Which values are secrets: by the name of their key, and passwords inside addresses.

use serde_json::{Map, Value};
use url::Url;

use crate::types::{
    Secret,
    secret::{MASKED, mask, telling},
};

/// Calls `found` for every text that is secret. Numbers count: a key may be all digits.
fn each(value: &Value, secret: bool, found: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                each(value, secret || telling(key), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| each(item, secret, found)),
        Value::String(text) if secret => found(text),
        Value::String(text) => {
            if let Some(password) = password(text) {
                found(password);
                // As it stands in the address once that is read.
                let read = text.parse::<Url>().ok();
                if let Some(password) = read.as_ref().and_then(Url::password) {
                    found(password);
                }
            }
        }
        Value::Number(number) if secret => found(&number.to_string()),
        _ => {}
    }
}

/// The password in an address, as it is written there; the rest of it may be wrong.
fn password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

/// Registers every secret with the mask, and returns them all for [`hide`]: the mask leaves short ones.
pub(super) fn register(tree: &Map<String, Value>) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in tree {
        each(value, telling(key), &mut |text| {
            drop(Secret::new(text));
            all.push(text.to_owned());
        });
    }
    all.retain(|text| !text.is_empty());
    all
}

/// A message without secrets: by value, and short ones where they are quoted.
pub(super) fn hide(message: &str, secrets: &[String]) -> String {
    let mut out = mask(message).into_owned();
    for secret in secrets {
        for quoted in [format!("{secret:?}"), format!("`{secret}`")] {
            out = out.replace(&quoted, MASKED);
        }
    }
    out
}

/// The tree with every secret replaced: by the names of keys, and by value wherever else they stand.
pub(super) fn masked(value: &Value) -> Value {
    mask_below(value, false)
}

fn mask_below(value: &Value, secret: bool) -> Value {
    match value {
        Value::Object(map) => {
            let masked = map
                .iter()
                .map(|(key, value)| (key.clone(), mask_below(value, secret || telling(key))));
            Value::Object(masked.collect())
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| mask_below(item, secret)).collect())
        }
        Value::Null => Value::Null,
        Value::String(text) if text.is_empty() => value.clone(),
        _ if secret => MASKED.into(),
        Value::String(text) => {
            let shown = password(text)
                .map(|password| text.replacen(&format!(":{password}@"), &format!(":{MASKED}@"), 1));
            mask(&shown.unwrap_or_else(|| text.clone())).into()
        }
        other => other.clone(),
    }
}

/// Whether a line, from 1, of a file that could not be read may hold a secret: by the names on it and
/// those of the blocks around it.
pub(super) fn may_be_on_line(text: &str, line: usize) -> bool {
    let indent = |l: &str| l.len() - l.trim_start().len();
    let lines: Vec<&str> = text.lines().take(line).collect();
    let Some((last, above)) = lines.split_last() else {
        return false;
    };
    let named = |l: &str| {
        let words = l.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
        words.into_iter().any(telling)
    };
    let mut inner = indent(last);
    let mut around = above.iter().rev().filter(|l| {
        let outer = indent(l) < inner && !l.trim().is_empty();
        if outer {
            inner = indent(l);
        }
        outer
    });
    named(last) || password_on(last) || around.any(|l| named(l))
}

fn password_on(line: &str) -> bool {
    line.contains("://") && line.contains('@')
}
