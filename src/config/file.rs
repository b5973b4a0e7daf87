//! Finding the file and reading it as a tree.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{ConfigError, Environment, parse};

/// A larger file is refused.
const LARGEST: u64 = 1 << 20;

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
    let bytes = bytes(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(e.as_bytes().get(..valid).unwrap_or_default());
        let line = before.lines().count().max(1);
        parse::syntax(path, &before, (line, 1), "this is not UTF-8 text")
    })?;
    let text = text.trim_start_matches('\u{feff}').to_owned();
    let json = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let tree = if json {
        parse::json(path, &text)
    } else {
        parse::yaml(path, &text)
    }?;
    match tree {
        Value::Object(tree) => Ok((text, tree)),
        Value::Null => Ok((text, Map::new())),
        _ => Err(parse::syntax(
            path,
            &text,
            (1, 1),
            "a configuration is a mapping of sections",
        )),
    }
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(std::io::Error::other(
            "it is larger than 1 MB, which no configuration is",
        ));
    }
    Ok(bytes)
}

/// The line, from 1, on which a key path of a block-style file stands, as far as indentation tells.
pub(super) fn line_of(text: &str, keys: &[String]) -> Option<usize> {
    let mut keys = keys.iter();
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
        if key == wanted.as_str() && trimmed.contains(':') {
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
