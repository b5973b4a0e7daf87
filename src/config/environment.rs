//! The environment: `${VAR}` in strings, and `NEXFLOW__SECTION__KEY=value` over the file. The only
//! place that reads it.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Map, Value};

use super::shape::{self, Keys};

/// Variables that override keys begin with this; `__` stands for a dot.
const PREFIX: &str = "NEXFLOW__";

/// A copy of the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// The working directory.
    pub(super) cwd: PathBuf,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Self {
            variables: variables.collect(),
            cwd: std::env::current_dir().unwrap_or_else(|_gone| PathBuf::from(".")),
        }
    }

    /// One that a test makes.
    #[cfg(test)]
    pub(super) fn made(variables: &[(&str, &str)], cwd: &std::path::Path) -> Self {
        let owned = variables
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Self {
            variables: owned.collect(),
            cwd: cwd.to_owned(),
        }
    }

    /// A variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    /// Puts `NEXFLOW__…` variables over a tree, as strings, and says where; the schema tells what the
    /// strings stand for, and how the keys are written.
    pub(super) fn override_keys(&self, tree: &mut Map<String, Value>, schema: &Value) -> Vec<Keys> {
        let mut places = Vec::new();
        for (name, text) in &self.variables {
            let path = name.strip_prefix(PREFIX).unwrap_or_default();
            if path.is_empty() || path.split("__").any(str::is_empty) {
                continue;
            }
            let names: Vec<&str> = path.split("__").collect();
            let mut keys = Vec::new();
            set(tree, (&names, schema), text, &mut keys);
            places.push(keys);
        }
        places
    }

    /// A string with its variables replaced; the name of one that is not set.
    pub(super) fn interpolate(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            let after = after.get(1..).unwrap_or_default();
            if let Some(literal) = after.strip_prefix('$') {
                out.push('$');
                rest = literal;
            } else if let Some((inner, tail)) =
                after.strip_prefix('{').and_then(|a| a.split_once('}'))
            {
                out.push_str(&self.variable(inner)?);
                rest = tail;
            } else {
                out.push('$');
                rest = after;
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn variable(&self, inner: &str) -> Result<String, String> {
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let value = self.get(name).or(default);
        value.map(str::to_owned).ok_or_else(|| name.to_owned())
    }
}

/// Sets a key, and notes how its path is written in the tree.
fn set(
    tree: &mut Map<String, Value>,
    (names, schema): (&[&str], &Value),
    text: &str,
    keys: &mut Keys,
) {
    let Some((name, rest)) = names.split_first() else {
        return;
    };
    let key = written(name, tree, schema);
    keys.push(key.clone());
    if rest.is_empty() {
        tree.insert(key, text.into());
        return;
    }
    let nothing = Value::Null;
    let inner = shape::child(schema, &key).unwrap_or(&nothing);
    let child = tree.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    if let Value::Object(child) = child {
        set(child, (rest, inner), text, keys);
    }
}

/// How a key is written: as it stands in the tree, else as in the schema, else as it is in a mapping of
/// free names to texts (names of variables), else in lower case.
fn written(name: &str, tree: &Map<String, Value>, schema: &Value) -> String {
    let same = |key: &&String| key.eq_ignore_ascii_case(name);
    if tree.contains_key(name) {
        return name.to_owned();
    }
    if let Some(key) = tree.keys().find(same) {
        return key.clone();
    }
    if let Some(key) = shape::properties(schema).find(same) {
        return key.clone();
    }
    let free = schema.get("additionalProperties");
    if free.is_some_and(|free| free.is_object() && shape::permits(free, "string")) {
        return name.to_owned();
    }
    name.to_lowercase()
}
