//! The keys of the head, whatever type their authors gave them.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Fault, Manifest, Requirements, Runtime, Wanted, frontmatter::Head};
use crate::skills::permission;

/// Takes keys out of the head; what is left is unknown.
struct Keys<'a> {
    head: &'a Head,
    left: Map<String, Value>,
    warnings: &'a mut Vec<String>,
}

/// The manifest in a head.
pub(super) fn manifest(head: &Head, warnings: &mut Vec<String>) -> Result<Manifest, Fault> {
    let mut keys = Keys {
        head,
        left: head.values.clone(),
        warnings,
    };
    let metadata = keys.metadata();
    let location = keys.location();
    let permissions = keys.permissions()?;
    let (input_schema, output_schema) =
        (keys.schema("input_schema")?, keys.schema("output_schema")?);
    Ok(Manifest {
        name: keys.text("name").unwrap_or_default(),
        description: keys.text("description").unwrap_or_default(),
        emoji: keys.text("emoji"),
        version: keys.text("version"),
        author: keys.text("author"),
        homepage: keys.text("homepage"),
        license: keys.text("license"),
        category: keys.text("category"),
        tags: keys.list("tags"),
        runtime: keys.runtime(location.as_deref())?,
        location,
        permissions,
        env_required: keys.flag("env_required"),
        requirements: keys.requirements(),
        idempotent: keys.flag("idempotent"),
        effects: keys.list("effects"),
        confirm: keys.flag("confirm"),
        wanted: wanted(&metadata),
        input_schema,
        output_schema,
        metadata,
        other: keys.left,
    })
}

/// A scalar as text: a version `1.0` is a number to YAML.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn texts(value: Value) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().filter_map(scalar).collect(),
        Value::String(text) => text
            .split(',')
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect(),
        other => scalar(&other).into_iter().collect(),
    }
}

impl Keys<'_> {
    fn take(&mut self, key: &str) -> Option<Value> {
        self.left.shift_remove(key).filter(|v| !v.is_null())
    }

    fn odd(&mut self, key: &str, wanted: &str) {
        let fault = self.head.fault(key, format!("`{key}` is not {wanted}"));
        self.warnings.push(fault.to_string());
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let value = self.take(key)?;
        let text = match &value {
            Value::Array(parts) => {
                self.odd(key, "a text");
                Some(
                    parts
                        .iter()
                        .filter_map(scalar)
                        .collect::<Vec<_>>()
                        .join(", "),
                )
            }
            Value::Object(_) => {
                self.odd(key, "a text");
                Some(value.to_string())
            }
            other => scalar(other),
        };
        text.filter(|t| !t.is_empty())
    }

    fn list(&mut self, key: &str) -> Vec<String> {
        self.take(key).map(texts).unwrap_or_default()
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.take(key) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => false,
            Some(_) => {
                self.odd(key, "true or false");
                false
            }
        }
    }

    fn metadata(&mut self) -> Value {
        match self.take("metadata") {
            // Some write JSON as a text.
            Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            other => other.unwrap_or_default(),
        }
    }

    fn requirements(&mut self) -> Requirements {
        match self.take("requirements") {
            None => Requirements::default(),
            Some(Value::Object(mut parts)) => {
                let mut list = |key: &str| parts.shift_remove(key).map(texts).unwrap_or_default();
                Requirements {
                    binaries: list("binaries"),
                    files: list("files"),
                    env: list("env"),
                }
            }
            Some(other) => {
                self.odd("requirements", "a map of binaries, files and env");
                self.left.insert("requirements".to_owned(), other);
                Requirements::default()
            }
        }
    }

    /// Other hosts of skills use this key for other things; ours is a program.
    fn location(&mut self) -> Option<String> {
        let value = self.take("location")?;
        let program = scalar(&value).filter(|text| {
            text.starts_with("./") || by_extension(text).is_some_and(|_| !text.contains("://"))
        });
        if program.is_none() {
            self.odd("location", "a program of this folder, such as ./run.sh");
            self.left.insert("location".to_owned(), value);
        }
        program
    }

    fn runtime(&mut self, location: Option<&str>) -> Result<Option<Runtime>, Fault> {
        let Some(location) = location else {
            return Ok(None);
        };
        let Some(value) = self.take("runtime") else {
            return Ok(by_extension(location));
        };
        let word = scalar(&value).unwrap_or_default().to_lowercase();
        let runtime = match word.as_str() {
            "bash" | "sh" | "shell" => Runtime::Bash,
            "python" | "python3" => Runtime::Python,
            "node" | "nodejs" | "javascript" => Runtime::Node,
            _ => {
                let text = format!("runtime `{word}` is none of bash, python, node");
                return Err(self.head.fault("runtime", text));
            }
        };
        Ok(Some(runtime))
    }

    fn permissions(&mut self) -> Result<Vec<permission::Permission>, Fault> {
        let fault = |text: String| self.head.fault("permissions", text);
        let items = match self.left.shift_remove("permissions") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(fault("`permissions` is not a list".to_owned())),
        };
        let text = |item: &Value| match item {
            Value::String(text) => Ok(text.clone()),
            other => Err(fault(format!("permission {other} is not a text"))),
        };
        let texts: Vec<String> = items.iter().map(text).collect::<Result<_, _>>()?;
        permission::parse_all(&texts).map_err(fault)
    }

    /// A schema of an object, or JSON of one in a text.
    fn schema(&mut self, key: &str) -> Result<Option<Value>, Fault> {
        let value = match self.take(key) {
            None => return Ok(None),
            Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            Some(value) => value,
        };
        let Value::Object(mut schema) = value else {
            return Err(self
                .head
                .fault(key, format!("`{key}` is not a JSON Schema")));
        };
        schema.entry("type").or_insert_with(|| "object".into());
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(self
                .head
                .fault(key, format!("`{key}` is not the schema of an object")));
        }
        Ok(Some(Value::Object(schema)))
    }
}

/// What interprets a file of this name.
pub(in crate::skills) fn by_extension(name: &str) -> Option<Runtime> {
    let (_, extension) = name.rsplit_once('.')?;
    match extension {
        "sh" | "bash" => Some(Runtime::Bash),
        "py" => Some(Runtime::Python),
        "js" | "mjs" | "cjs" => Some(Runtime::Node),
        _ => None,
    }
}

fn wanted(metadata: &Value) -> Wanted {
    let number = |key: &str| metadata.get(key).and_then(Value::as_u64).filter(|n| *n > 0);
    Wanted {
        timeout: number("timeoutSec").map(Duration::from_secs),
        output_kb: number("maxOutputKb"),
        memory_mb: number("memoryMb"),
    }
}
