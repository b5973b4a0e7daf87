//! Finding the file and reading it as a tree.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{ConfigError, Environment};

/// The file to read: the named one, or the first that is there.
pub(super) fn find(named: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let cwd = &environment.cwd;
    if let Some(path) = named {
        return Some(super::resolve(cwd, path));
    }
    if let Some(path) = environment.get("NEXFLOW_CONFIG") {
        return Some(super::resolve(cwd, Path::new(path)));
    }
    let home = environment.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(environment.get("HOME")?).join(".config")));
    let here = ["config.yml", "config.yaml", "config.json"].map(|name| cwd.join(name));
    let there = home.map(|home| home.join("nexflow/config.yml"));
    here.into_iter().chain(there).find(|path| path.is_file())
}

/// A file as text and tree.
pub(super) fn read(path: &Path) -> Result<(String, Map<String, Value>), ConfigError> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(e.as_bytes().get(..valid).unwrap_or_default());
        let line = before.lines().count().max(1);
        syntax(path, &before, (line, 1), "this is not UTF-8 text")
    })?;
    let text = text.trim_start_matches('\u{feff}').to_owned();
    let json = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let tree = if json {
        json_tree(path, &text)
    } else {
        yaml_tree(path, &text)
    }?;
    match tree {
        Value::Object(tree) => Ok((text, tree)),
        Value::Null => Ok((text, Map::new())),
        _ => Err(syntax(
            path,
            &text,
            (1, 1),
            "a configuration is a mapping of sections",
        )),
    }
}

fn json_tree(path: &Path, text: &str) -> Result<Value, ConfigError> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text)
        .map_err(|e| syntax(path, text, (e.line(), e.column()), &plain(&e.to_string())))
}

fn yaml_tree(path: &Path, text: &str) -> Result<Value, ConfigError> {
    let told = |e: serde_yaml::Error| {
        let at = e.location().map_or((1, 1), |l| (l.line(), l.column()));
        syntax(path, text, at, &plain(&e.to_string()))
    };
    // Through the parser's own value: it refuses keys that stand twice.
    let tree: serde_yaml::Value = serde_yaml::from_str(text).map_err(told)?;
    serde_json::to_value(tree).map_err(|e| syntax(path, text, (1, 1), &e.to_string()))
}

/// Parsers repeat the place at the end of their message.
fn plain(message: &str) -> String {
    message
        .split(" at line ")
        .next()
        .unwrap_or(message)
        .to_owned()
}

fn syntax(path: &Path, text: &str, (line, column): (usize, usize), message: &str) -> ConfigError {
    let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let mark = " ".repeat(column.saturating_sub(1).min(shown.chars().count()));
    ConfigError::Syntax {
        path: path.to_owned(),
        line,
        column,
        message: message.to_owned(),
        excerpt: format!("  {shown}\n  {mark}^"),
    }
}

/// The line, from 1, on which a key path of a block-style file stands, as far as indentation tells.
pub(super) fn line_of(text: &str, path: &str) -> Option<usize> {
    let mut keys = path.split('.').peekable();
    let mut wanted = keys.next()?;
    let mut outer = None;
    for (n, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if outer.is_some_and(|outer| {
            indent <= outer && !trimmed.is_empty() && !trimmed.starts_with('#')
        }) {
            return None;
        }
        let key = trimmed
            .split(':')
            .next()
            .unwrap_or_default()
            .trim_matches(['"', '\'', ' ', ',', '{']);
        if key == wanted && trimmed.contains(':') {
            match keys.next() {
                None => return Some(n + 1),
                Some(next) => {
                    wanted = next;
                    outer = Some(indent);
                }
            }
        }
    }
    None
}
