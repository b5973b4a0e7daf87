//! A tree compared with the schema: keys that nobody knows, values of another type, and strings that
//! came from a variable where something else is wanted.

use serde_json::{Map, Value};

use super::parse;

/// Where something stands: keys from the outside in; an item of a list by its number.
pub(super) type Keys = Vec<String>;

/// Something that does not fit the schema.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Odd {
    /// Where.
    pub(super) keys: Keys,
    /// What.
    pub(super) what: What,
}

/// How it does not fit.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A key that is not in the schema; these are.
    Unknown(Vec<String>),
    /// A value of another type.
    Type(String),
}

/// Everything that does not fit.
pub(super) fn compare(value: &Value, schema: &Value, keys: &mut Keys, odd: &mut Vec<Odd>) {
    let schema = chosen(schema, value);
    if value.is_null() {
        return;
    }
    if !permits(schema, type_of(value)) {
        odd.push(Odd {
            keys: keys.clone(),
            what: What::Type(format!(
                "{} is expected, not {}",
                wanted(schema),
                noun(value)
            )),
        });
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, item) in map {
                keys.push(key.clone());
                match child(schema, key) {
                    Some(inner) => compare(item, inner, keys, odd),
                    None if closed(schema) => odd.push(Odd {
                        keys: keys.clone(),
                        what: What::Unknown(properties(schema).cloned().collect()),
                    }),
                    None => {}
                }
                keys.pop();
            }
        }
        Value::Array(items) => {
            let inner = schema.get("items").unwrap_or(&Value::Null);
            for (n, item) in items.iter().enumerate() {
                keys.push(n.to_string());
                compare(item, inner, keys, odd);
                keys.pop();
            }
        }
        _ => {}
    }
}

/// The schema of one place of a tree. Which of the schemas of a family holds is told by `kind`.
pub(super) fn at<'a>(schema: &'a Value, tree: &Value, keys: &[String]) -> Option<&'a Value> {
    let Some((key, rest)) = keys.split_first() else {
        return Some(schema);
    };
    let nothing = Value::Null;
    let inner = tree.get(key).unwrap_or(&nothing);
    if tree.is_array() {
        return at(schema.get("items")?, inner, rest);
    }
    let schema = chosen(schema, tree);
    let kind = inner.get("kind").and_then(Value::as_str);
    let named = kind
        .filter(|_| is_family(schema))
        .and_then(|kind| schema.get("properties")?.get(kind));
    at(named.or_else(|| child(schema, key))?, inner, rest)
}

/// Whether its sections may have any name and say their kind.
fn is_family(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.is_some_and(|p| {
        p.values().any(|one| {
            one.get("properties")
                .is_some_and(|p| p.get("kind").is_some())
        })
    })
}

/// Strings from variables become what the schema wants there; where it takes a string, they stay.
pub(super) fn retype(tree: &mut Map<String, Value>, schema: &Value, places: &[Keys]) {
    let mut whole = Value::Object(std::mem::take(tree));
    for keys in places {
        let wanted = at(schema, &whole, keys).cloned();
        let Some(Value::String(text)) = get_mut(&mut whole, keys) else {
            continue;
        };
        let typed = wanted.and_then(|schema| retyped(text, &schema));
        if let (Some(typed), Some(place)) = (typed, get_mut(&mut whole, keys)) {
            *place = typed;
        }
    }
    if let Value::Object(whole) = whole {
        *tree = whole;
    }
}

fn retyped(text: &str, schema: &Value) -> Option<Value> {
    let nothing = matches!(text.trim(), "" | "null" | "~");
    if permits(schema, "string") {
        let null = nothing && !text.is_empty() && permits(schema, "null");
        return null.then_some(Value::Null);
    }
    if nothing {
        return Some(Value::Null);
    }
    let value = parse::scalar(text)?;
    permits(schema, type_of(&value)).then_some(value)
}

fn get_mut<'a>(value: &'a mut Value, keys: &[String]) -> Option<&'a mut Value> {
    keys.iter().try_fold(value, |value, key| match value {
        Value::Object(map) => map.get_mut(key),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The schema below a key.
pub(super) fn child<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let named = schema.get("properties").and_then(|p| p.get(key));
    named.or_else(|| schema.get("additionalProperties").filter(|s| s.is_object()))
}

/// The names below a schema.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = &String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys)
}

/// Whether a mapping takes no other keys than those of the schema.
fn closed(schema: &Value) -> bool {
    match schema.get("additionalProperties") {
        Some(more) => more == false,
        None => schema.get("properties").is_some(),
    }
}

/// Of several schemas the one that takes a value's type.
fn chosen<'a>(schema: &'a Value, value: &Value) -> &'a Value {
    let several = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| schema.get(*key)?.as_array());
    several
        .and_then(|all| all.iter().find(|one| permits(one, type_of(value))))
        .unwrap_or(schema)
}

/// Whether a schema takes values of a type.
pub(super) fn permits(schema: &Value, kind: &str) -> bool {
    let same = |name: &Value| name == kind || (name == "number" && kind == "integer");
    if let Some(all) = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| schema.get(*key)?.as_array())
    {
        return all.iter().any(|one| permits(one, kind));
    }
    match schema.get("type") {
        Some(Value::Array(all)) => all.iter().any(same),
        Some(one) => same(one),
        None => {
            let one = schema.get("const").map(std::slice::from_ref);
            let all = schema.get("enum").and_then(Value::as_array);
            let all = all.map(Vec::as_slice).or(one);
            all.is_none_or(|all| all.iter().any(|v| type_of(v) == kind))
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wanted(schema: &Value) -> String {
    let kinds = [
        ("string", "text"),
        ("integer", "a whole number"),
        ("number", "a number"),
        ("boolean", "true or false"),
        ("array", "a list"),
        ("object", "a mapping"),
    ];
    let whole = permits(schema, "integer") && !permits(schema, "number");
    let words: Vec<&str> = kinds
        .iter()
        .filter(|(kind, _)| permits(schema, kind) && (*kind != "integer" || whole))
        .map(|(_, words)| *words)
        .collect();
    words.join(" or ")
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
