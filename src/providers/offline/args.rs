//! `/run SKILL …`: what follows the name, as the arguments that the skill's schema asks for.

use serde_json::{Map, Value};

use super::{Plan, command::first_word, texts};
use crate::{providers::Request, types::chat::ToolSpec};

/// The call that a `/run` asks for.
pub(super) fn run(rest: &str, request: &Request) -> Plan {
    let (name, rest) = first_word(rest);
    if name.is_empty() {
        return Plan::Say(texts::RUN_USAGE.to_owned());
    }
    let Some(tool) = request.tools.iter().find(|tool| tool.name == name) else {
        return Plan::Say(texts::no_tool(name, request));
    };
    match read(rest, tool) {
        Some(args) => Plan::call(name, Value::Object(args)),
        None => Plan::Say(texts::arguments_needed(tool)),
    }
}

/// A JSON object, `key=value` pairs, or text for the one field that can only be meant.
fn read(rest: &str, tool: &ToolSpec) -> Option<Map<String, Value>> {
    if let Ok(object) = serde_json::from_str::<Map<String, Value>>(rest) {
        return Some(object);
    }
    if rest.is_empty() {
        return required(tool).is_empty().then(Map::new);
    }
    if let Some(args) = pairs(rest, tool) {
        return Some(args);
    }
    let field = text_field(tool)?;
    Some(Map::from_iter([(field, Value::from(rest))]))
}

/// The fields of a tool, with their schemas.
pub(super) fn properties(tool: &ToolSpec) -> impl Iterator<Item = (&String, &Value)> {
    let properties = tool.input_schema.get("properties");
    properties.and_then(Value::as_object).into_iter().flatten()
}

/// The fields that a tool must have.
pub(super) fn required(tool: &ToolSpec) -> Vec<&str> {
    let required = tool.input_schema.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

/// The type that a schema names, the first if there are several.
pub(super) fn type_of(schema: &Value) -> &str {
    let named = match schema.get("type") {
        Some(Value::Array(types)) => types.first().and_then(Value::as_str),
        Some(named) => named.as_str(),
        None => None,
    };
    named.unwrap_or("any")
}

/// The only required field, if it is text and nothing else is required; else the only field.
fn text_field(tool: &ToolSpec) -> Option<String> {
    let required = required(tool);
    let mut texts = properties(tool).filter(|(name, schema)| {
        type_of(schema) == "string" && (required.is_empty() || required.contains(&name.as_str()))
    });
    let (name, _) = texts.next()?;
    (required.len() <= 1 && texts.next().is_none()).then(|| name.clone())
}

/// Every word is `key=value`, and every key is a field.
fn pairs(rest: &str, tool: &ToolSpec) -> Option<Map<String, Value>> {
    let mut args = Map::new();
    for word in words(rest)? {
        let (key, value) = word.split_once('=')?;
        let (_, schema) = properties(tool).find(|(name, _)| *name == key)?;
        args.insert(key.to_owned(), typed(value, schema));
    }
    (!args.is_empty()).then_some(args)
}

/// A value in the type that its field has; what does not fit stays text, and is refused later with
/// a better message than we could give.
fn typed(value: &str, schema: &Value) -> Value {
    let text = || Value::from(value);
    match type_of(schema) {
        "string" => text(),
        "array" if !value.trim_start().starts_with('[') => {
            let schema = schema.get("items").unwrap_or(&Value::Null);
            let items = value.split(',').map(str::trim).filter(|i| !i.is_empty());
            items.map(|item| typed(item, schema)).collect()
        }
        "any" if schema.get("enum").is_some() => text(),
        _ => serde_json::from_str(value).unwrap_or_else(|_| text()),
    }
}

/// Words as a shell would split them: quotes keep spaces; none if a quote is left open.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', Some('"')) => word.get_or_insert_default().push(chars.next()?),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}
