//! The head of a SKILL.md: found, and read as YAML; where that fails, key by key.

use gray_matter::{Matter, Pod, engine::Engine};
use serde_json::{Map, Value};

use super::Fault;

/// Keys that grant or start something: read exactly, or not at all.
const STRICT: &[&str] = &["permissions", "location", "runtime"];

/// Most brackets that may be open at a time.
const DEEPEST: usize = 100;

/// The head, and the text below it.
#[derive(Debug)]
pub(super) struct Head {
    /// Values by key, in their order.
    pub(super) values: Map<String, Value>,
    /// The rest of the file.
    pub(super) body: String,
    raw: String,
    first_line: usize,
}

/// Hands on what stands between the delimiters; it is read here, where order and places are known.
struct Raw;

impl Engine for Raw {
    fn parse(content: &str) -> gray_matter::Result<Pod> {
        Ok(Pod::String(content.to_owned()))
    }
}

impl Head {
    /// A fault at a key.
    pub(super) fn fault(&self, key: &str, text: impl Into<String>) -> Fault {
        let at = self
            .raw
            .lines()
            .position(|l| key_of(l).is_some_and(|(k, _)| k == key));
        Fault {
            line: at.map_or(1, |at| at + self.first_line),
            column: 1,
            text: text.into(),
        }
    }
}

/// Finds the head and reads it.
pub(super) fn split(text: &str, warnings: &mut Vec<String>) -> Result<Head, Fault> {
    let trimmed = text.trim_start();
    let above = text.len() - trimmed.len();
    let above = text.get(..above).unwrap_or_default().matches('\n').count();
    if trimmed.lines().next().map(str::trim_end) != Some("---") {
        warnings.push("there is no frontmatter".to_owned());
        let body = trimmed.to_owned();
        return Ok(Head {
            values: Map::new(),
            body,
            raw: String::new(),
            first_line: 1,
        });
    }
    let closed = trimmed.lines().skip(1).any(|l| l.trim_end() == "---");
    let whole = if closed {
        trimmed.to_owned()
    } else {
        close(trimmed, warnings)
    };
    let matter: Matter<Raw> = Matter::new();
    let parsed = matter.parse::<Value>(&whole);
    let parsed = parsed.map_err(|e| Fault {
        line: 1,
        column: 1,
        text: e.to_string(),
    })?;
    let blank = whole
        .lines()
        .skip(1)
        .take_while(|l| l.trim().is_empty())
        .count();
    let mut head = Head {
        values: Map::new(),
        body: parsed.content,
        raw: parsed.matter,
        first_line: above + blank + 2,
    };
    head.values = read(&head, warnings)?;
    Ok(head)
}

/// Puts the missing delimiter where the keys end.
fn close(text: &str, warnings: &mut Vec<String>) -> String {
    warnings.push("the frontmatter is not closed by a line `---`".to_owned());
    let mut out = String::from("---\n");
    let mut lines = text.lines().skip(1).peekable();
    let of_head =
        |l: &str| key_of(l).is_some() || l.starts_with([' ', '\t']) || l.starts_with("- ");
    while let Some(line) = lines.next_if(|l| of_head(l)) {
        out.push_str(line);
        out.push('\n');
    }
    out.push_str("---\n");
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
    out
}

fn read(head: &Head, warnings: &mut Vec<String>) -> Result<Map<String, Value>, Fault> {
    if head.raw.is_empty() {
        return Ok(Map::new());
    }
    if too_deep(&head.raw) {
        warnings.push("the frontmatter opens too many brackets".to_owned());
        return key_by_key(head);
    }
    match serde_yaml::from_str::<serde_yaml::Value>(&head.raw) {
        Ok(serde_yaml::Value::Mapping(all)) => Ok(object(all)),
        Ok(_) => {
            warnings.push("the frontmatter is not a list of `key: value`".to_owned());
            key_by_key(head)
        }
        Err(error) => {
            let (line, column) = error
                .location()
                .map_or((0, 1), |l| (l.line() - 1, l.column()));
            let line = line + head.first_line;
            warnings.push(format!(
                "SKILL.md:{line}:{column}: {error}; read key by key instead"
            ));
            key_by_key(head)
        }
    }
}

/// Many open brackets cost the YAML parser time by their square.
fn too_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST
    })
}

/// The key that a line begins, and what follows it.
fn key_of(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.split_once(':')?;
    let key = key.trim_end();
    let key = key
        .strip_prefix('"')
        .and_then(|k| k.strip_suffix('"'))
        .unwrap_or(key);
    let named = key.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && key
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let spaced = rest.is_empty() || rest.starts_with([' ', '\t']);
    (named && spaced && key.len() <= 64).then_some((key, rest.trim()))
}

/// Each key with the lines that belong to it.
fn key_by_key(head: &Head) -> Result<Map<String, Value>, Fault> {
    let mut blocks: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in head.raw.lines() {
        if let Some((key, _)) = key_of(line) {
            blocks.push((key, vec![line]));
        } else if let Some((_, lines)) = blocks.last_mut() {
            lines.push(line);
        }
    }
    let mut values = Map::new();
    for (key, lines) in blocks {
        let strict = STRICT.contains(&key);
        if strict && values.contains_key(key) {
            return Err(head.fault(key, format!("`{key}` stands there twice")));
        }
        let value = match block(key, &lines) {
            Some(value) => value,
            None if strict => {
                return Err(head.fault(key, format!("`{key}` is not valid YAML")));
            }
            None => plain(&lines),
        };
        values.entry(key).or_insert(value);
    }
    Ok(values)
}

/// The value of one key as YAML, as it is or with its commonest mistakes repaired.
fn block(key: &str, lines: &[&str]) -> Option<Value> {
    let text = lines.join("\n");
    if let Some(value) = yaml(key, &text) {
        return Some(value);
    }
    let spaced = text.replace('\t', "  ");
    if let Some(value) = yaml(key, &spaced) {
        return Some(value);
    }
    if STRICT.contains(&key) {
        return None;
    }
    let quoted: Vec<String> = spaced.lines().map(quote).collect();
    yaml(key, &quoted.join("\n"))
}

fn yaml(key: &str, text: &str) -> Option<Value> {
    if too_deep(text) {
        return None;
    }
    let parsed: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    let serde_yaml::Value::Mapping(all) = parsed else {
        return None;
    };
    object(all).shift_remove(key)
}

/// `key: value` or `- value` with the value in quotes, if it is not in any yet.
fn quote(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let (space, rest) = line.split_at_checked(indent).unwrap_or(("", line));
    let (dash, rest) = rest
        .strip_prefix("- ")
        .map_or(("", rest), |rest| ("- ", rest));
    let (key, value) = match key_of(rest) {
        Some((key, value)) => (format!("{key}: "), value),
        None if dash.is_empty() => return line.to_owned(),
        None => (String::new(), rest.trim()),
    };
    if value.is_empty() || value.starts_with(['"', '\'', '|', '>', '[', '{']) {
        return line.to_owned();
    }
    format!("{space}{dash}{key}{}", Value::from(value))
}

/// What is left of a value that no repair made YAML: its text.
fn plain(lines: &[&str]) -> Value {
    let mut parts = lines.iter();
    let first = parts
        .next()
        .and_then(|l| key_of(l))
        .map_or("", |(_, value)| value);
    let first = if matches!(first, "|" | ">" | "|-" | ">-" | "|+" | ">+") {
        ""
    } else {
        first
    };
    let rest = parts.map(|l| l.trim()).filter(|l| !l.is_empty());
    let text: Vec<&str> = std::iter::once(first)
        .filter(|f| !f.is_empty())
        .chain(rest)
        .collect();
    Value::String(text.join(" ").trim_matches(['"', '\'']).to_owned())
}

fn object(all: serde_yaml::Mapping) -> Map<String, Value> {
    all.into_iter()
        .map(|(key, value)| (key_text(key), json(value)))
        .collect()
}

fn key_text(key: serde_yaml::Value) -> String {
    match json(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn json(value: serde_yaml::Value) -> Value {
    match value {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Bool(b) => b.into(),
        serde_yaml::Value::String(s) => s.into(),
        serde_yaml::Value::Number(n) => number(&n),
        serde_yaml::Value::Sequence(all) => all.into_iter().map(json).collect(),
        serde_yaml::Value::Mapping(all) => Value::Object(object(all)),
        serde_yaml::Value::Tagged(tagged) => json(tagged.value),
    }
}

fn number(n: &serde_yaml::Number) -> Value {
    if let Some(n) = n.as_i64() {
        return n.into();
    }
    if let Some(n) = n.as_u64() {
        return n.into();
    }
    let float = n.as_f64().and_then(serde_json::Number::from_f64);
    float.map_or_else(|| n.to_string().into(), Value::Number)
}
