//! JSON Schema in the subset that Gemini takes: everything else makes it refuse the whole request.

use serde_json::{Map, Value, json};

/// A schema nested deeper than this is cut: one that refers to itself has no end.
const DEEPEST: usize = 12;

/// Keywords that are taken as they are.
const KEPT: &[&str] = &[
    "title",
    "description",
    "nullable",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "default",
];

/// The parameters of a function; none for a function without.
pub(super) fn parameters(schema: &Value) -> Option<Value> {
    let mut translated = Translator { root: schema }.schema(schema, 0);
    let properties = translated.get("properties").and_then(Value::as_object);
    if properties.is_none_or(Map::is_empty) {
        return None;
    }
    translated.insert("type".to_owned(), json!("object"));
    Some(Value::Object(translated))
}

struct Translator<'a> {
    root: &'a Value,
}

impl Translator<'_> {
    fn schema(&self, schema: &Value, depth: usize) -> Map<String, Value> {
        let Some(from) = schema.as_object() else {
            // `true`: anything.
            return Map::from_iter([("type".to_owned(), json!("string"))]);
        };
        if depth > DEEPEST {
            return Map::from_iter([("type".to_owned(), json!("object"))]);
        }
        let mut out = Map::new();
        if let Some(target) = self.referred(from) {
            out = self.schema(&target, depth + 1);
        }
        for part in list(from, "allOf") {
            merge(&mut out, self.schema(part, depth + 1));
        }
        for (key, value) in from {
            if KEPT.contains(&key.as_str()) {
                out.insert(key.clone(), value.clone());
            }
        }
        for (from_key, to) in [
            ("exclusiveMinimum", "minimum"),
            ("exclusiveMaximum", "maximum"),
        ] {
            if let Some(limit) = from.get(from_key).filter(|limit| limit.is_number()) {
                out.insert(to.to_owned(), limit.clone());
            }
        }
        types(from, &mut out);
        self.choices(from, &mut out, depth);
        self.inner(from, &mut out, depth);
        values(from, &mut out);
        format(from, &mut out);
        out
    }

    /// What `$ref` stands for, in this schema.
    fn referred(&self, from: &Map<String, Value>) -> Option<Value> {
        let pointer = from.get("$ref")?.as_str()?.strip_prefix('#')?;
        self.root.pointer(pointer).cloned()
    }

    fn choices(&self, from: &Map<String, Value>, out: &mut Map<String, Value>, depth: usize) {
        let choices = list(from, "anyOf").chain(list(from, "oneOf"));
        let null = |choice: &&Value| choice.get("type").and_then(Value::as_str) == Some("null");
        let (nothing, real): (Vec<&Value>, Vec<&Value>) = choices.partition(null);
        if !nothing.is_empty() {
            out.insert("nullable".to_owned(), json!(true));
        }
        match real.as_slice() {
            [] => {}
            [one] => merge(out, self.schema(one, depth + 1)),
            many => {
                let any = many.iter().map(|one| self.schema(one, depth + 1).into());
                out.insert("anyOf".to_owned(), Value::Array(any.collect()));
            }
        }
    }

    fn inner(&self, from: &Map<String, Value>, out: &mut Map<String, Value>, depth: usize) {
        if let Some(properties) = from.get("properties").and_then(Value::as_object) {
            let translated = properties
                .iter()
                .map(|(name, inner)| (name.clone(), self.schema(inner, depth + 1).into()));
            let inner: Map<String, Value> = translated.collect();
            let known = |name: &&Value| name.as_str().is_some_and(|name| inner.contains_key(name));
            let required: Vec<Value> = list(from, "required").filter(known).cloned().collect();
            if !required.is_empty() {
                out.insert("required".to_owned(), Value::Array(required));
            }
            out.entry("type").or_insert_with(|| json!("object"));
            out.insert("properties".to_owned(), Value::Object(inner));
        }
        let items = from.get("items");
        if items.is_some() || out.get("type").and_then(Value::as_str) == Some("array") {
            let inner = items.map_or_else(
                || Map::from_iter([("type".to_owned(), json!("string"))]),
                |items| self.schema(items, depth + 1),
            );
            out.insert("items".to_owned(), Value::Object(inner));
            out.entry("type").or_insert_with(|| json!("array"));
        }
    }
}

/// One type, and `nullable` for the type null.
fn types(from: &Map<String, Value>, out: &mut Map<String, Value>) {
    let types: Vec<&str> = match from.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if types.contains(&"null") {
        out.insert("nullable".to_owned(), json!(true));
    }
    let mut real = types.into_iter().filter(|name| *name != "null");
    match (real.next(), real.next()) {
        (Some(one), None) => {
            out.insert("type".to_owned(), json!(one));
        }
        (Some(one), Some(two)) => {
            let all = [one, two].into_iter().chain(real);
            let any: Vec<Value> = all.map(|name| json!({ "type": name })).collect();
            out.insert("anyOf".to_owned(), Value::Array(any));
        }
        _ => {}
    }
}

/// Only texts can be listed; of others the description says which are meant.
fn values(from: &Map<String, Value>, out: &mut Map<String, Value>) {
    let mut values: Vec<&Value> = list(from, "enum").collect();
    values.extend(from.get("const"));
    if values.is_empty() {
        return;
    }
    let texts: Vec<&Value> = values.iter().copied().filter(|v| v.is_string()).collect();
    if values.iter().any(|v| v.is_null()) {
        out.insert("nullable".to_owned(), json!(true));
    }
    let real = values.iter().filter(|v| !v.is_null()).count();
    if texts.len() == real {
        out.insert("type".to_owned(), json!("string"));
        out.insert("enum".to_owned(), json!(texts));
        return;
    }
    let told = out.get("description").and_then(Value::as_str);
    let told = told.unwrap_or_default();
    let listed: Vec<String> = values.iter().map(ToString::to_string).collect();
    let told = format!("{told} One of: {}.", listed.join(", "));
    out.insert("description".to_owned(), json!(told.trim_start()));
}

/// Few formats are known, and an unknown one is refused.
fn format(from: &Map<String, Value>, out: &mut Map<String, Value>) {
    let Some(format) = from.get("format").and_then(Value::as_str) else {
        return;
    };
    let known: &[&str] = match out.get("type").and_then(Value::as_str) {
        Some("string") => &["date-time", "enum"],
        Some("number") => &["float", "double"],
        Some("integer") => &["int32", "int64"],
        _ => &[],
    };
    if known.contains(&format) {
        out.insert("format".to_owned(), json!(format));
    }
}

fn list<'a>(from: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    let list = from.get(key).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// Adds what is not there yet; properties and what is required come together.
fn merge(out: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        match (out.get_mut(&key), value) {
            (Some(Value::Object(known)), Value::Object(value)) => known.extend(value),
            (Some(Value::Array(known)), Value::Array(value)) if key == "required" => {
                known.extend(value);
            }
            (Some(_), _) => {}
            (None, value) => {
                out.insert(key, value);
            }
        }
    }
}
