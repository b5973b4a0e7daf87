//! `${VAR}` in the strings of a tree, and what is off when a variable is not set.

use serde_json::{Map, Value};

use super::{environment::Environment, shape::Keys};

/// What came of it.
#[derive(Default)]
pub(super) struct Filled {
    /// Strings that were one variable as a whole: their type is the schema's to say.
    pub(super) whole: Vec<Keys>,
    /// What is off, and the variable that it needs.
    pub(super) off: Vec<(Keys, String)>,
}

/// Replaces variables. One that is not set takes its provider, connector or endpoint with it, or else
/// the key that it stands in. What overrides put there is left as it is.
pub(super) fn fill(
    environment: &Environment,
    tree: &mut Map<String, Value>,
    overridden: &[Keys],
) -> Filled {
    let mut filling = Filling {
        environment,
        overridden,
        filled: Filled::default(),
        missing: Vec::new(),
    };
    for (key, value) in tree.iter_mut() {
        filling.value(value, &mut vec![key.clone()]);
    }
    let Filling {
        mut filled,
        missing,
        ..
    } = filling;
    for (keys, variable) in missing {
        let section = section_of(&keys);
        if switch_off(tree, section) {
            filled.off.push((section.to_vec(), variable));
        }
    }
    filled
}

struct Filling<'a> {
    environment: &'a Environment,
    overridden: &'a [Keys],
    filled: Filled,
    missing: Vec<(Keys, String)>,
}

impl Filling<'_> {
    fn value(&mut self, value: &mut Value, keys: &mut Keys) {
        if self.overridden.contains(keys) {
            return;
        }
        match value {
            Value::String(text) if text.contains('$') => match self.environment.interpolate(text) {
                Ok(filled) => {
                    if is_one_variable(text) {
                        self.filled.whole.push(keys.clone());
                    }
                    *text = filled;
                }
                Err(variable) => self.missing.push((keys.clone(), variable)),
            },
            Value::Array(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    keys.push(n.to_string());
                    self.value(item, keys);
                    keys.pop();
                }
            }
            Value::Object(map) => {
                for (key, item) in map.iter_mut() {
                    keys.push(key.clone());
                    self.value(item, keys);
                    keys.pop();
                }
            }
            _ => {}
        }
    }
}

/// `${…}` and nothing around it.
fn is_one_variable(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains('}'))
}

/// The part of a path that is off when something in it is missing.
fn section_of(keys: &[String]) -> &[String] {
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let deep = match names.as_slice() {
        ["llm", "providers" | "prices", _, ..] => 3,
        ["channels", "webhook", "endpoints", _, ..] => 4,
        ["channels", _, ..] | ["llm", "transcription", ..] => 2,
        all => all.len(),
    };
    keys.get(..deep).unwrap_or(keys)
}

/// Takes a section out of the tree. Whether somebody has to be told: not what is switched off anyway.
fn switch_off(tree: &mut Map<String, Value>, section: &[String]) -> bool {
    match section {
        [family, name] if family == "channels" => {
            let Some(Value::Object(channels)) = tree.get_mut(family) else {
                return false;
            };
            let Some(channel) = channels.get_mut(name) else {
                return false;
            };
            let told = is_on(channel);
            // It stays as one that is off: some connectors run unless somebody says no.
            *channel = serde_json::json!({ "kind": channel.get("kind"), "enabled": false });
            told
        }
        [llm, providers, _] if llm == "llm" && providers == "providers" => {
            remove(tree, section).is_some_and(|gone| is_on(&gone))
        }
        [channels, name, ..] if channels == "channels" => {
            let channel = tree.get(channels).and_then(|c| c.get(name));
            let told = channel.is_some_and(is_on);
            remove(tree, section).is_some() && told
        }
        _ => remove(tree, section).is_some(),
    }
}

/// Whether a section of a family is not switched off.
pub(super) fn is_on(section: &Value) -> bool {
    let enabled = section.get("enabled");
    enabled != Some(&Value::Bool(false)) && enabled.and_then(Value::as_str) != Some("false")
}

/// Takes something out of a tree. A list goes as a whole: which item was meant is not ours to guess.
pub(super) fn remove(tree: &mut Map<String, Value>, keys: &[String]) -> Option<Value> {
    let (key, rest) = keys.split_first()?;
    if rest.is_empty() {
        return tree.shift_remove(key);
    }
    match tree.get_mut(key)? {
        Value::Object(child) => remove(child, rest),
        Value::Array(_) => tree.shift_remove(key),
        _ => None,
    }
}
