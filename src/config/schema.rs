//! The JSON Schema of the whole file, put together from those of its sections.

use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value, json};

use super::shape::permits;
use crate::{
    api, budget, connectors, logging, memory, orchestrator, policy, providers, schedule, skills,
    store,
    types::{Task, money::Price},
};

/// Sections that this version reads.
pub(super) const SECTIONS: &[&str] = &[
    "version",
    "data_dir",
    "server",
    "database",
    "storage",
    "llm",
    "channels",
    "skills",
    "logging",
    "turns",
    "delivery",
    "approvals",
    "budgets",
    "scheduler",
    "memory",
    "privacy",
];

/// `nexflow config schema`: for files, in which `${VAR}` may stand for any value.
pub fn schema() -> Value {
    let mut schema = filled();
    if let Some(properties) = schema.get_mut("properties") {
        each(properties, &mut with_variables);
    }
    schema
}

fn each(map: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    if let Some(map) = map.as_object_mut() {
        map.values_mut().for_each(change);
    }
}

/// Lets `${VAR}` stand where not any text may.
fn with_variables(schema: &mut Value) {
    let inner = ["properties", "additionalProperties", "items"];
    if inner
        .iter()
        .any(|key| schema.get(key).is_some_and(|s| !s.is_boolean()))
    {
        if let Some(properties) = schema.get_mut("properties") {
            each(properties, &mut with_variables);
        }
        for key in ["additionalProperties", "items"] {
            if let Some(one) = schema.get_mut(key).filter(|one| one.is_object()) {
                with_variables(one);
            }
        }
        return;
    }
    let bound = [
        "pattern",
        "enum",
        "const",
        "format",
        "minLength",
        "anyOf",
        "oneOf",
    ];
    let any_text = bound.iter().all(|key| schema.get(key).is_none()) && permits(schema, "string");
    if any_text || permits(schema, "object") || !schema.is_object() {
        return;
    }
    let about = schema.as_object_mut().and_then(|s| s.remove("description"));
    let variable = json!({ "type": "string", "pattern": r"\$\{.+\}" });
    *schema = json!({ "anyOf": [schema.take(), variable] });
    if let (Some(about), Some(schema)) = (about, schema.as_object_mut()) {
        schema.insert("description".to_owned(), about);
    }
}

/// What holds once variables are filled in.
pub(super) fn filled() -> Value {
    let providers: Map<String, Value> = providers::KINDS
        .iter()
        .map(|kind| (kind.name.to_owned(), limited(open((kind.schema)()))))
        .collect();
    let channels: Map<String, Value> = connectors::KINDS
        .iter()
        .map(|kind| (kind.name.to_owned(), open((kind.schema)().to_value())))
        .collect();
    let section = |about: &str, schema: Value| {
        let mut schema = inline(schema);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), about.into());
        }
        schema
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Nexflow configuration",
        "type": "object",
        "properties": {
            "version": { "const": 1, "description": "Version of this format." },
            "data_dir": { "type": "string", "description": "Where the daemon keeps its things." },
            "server": section("The HTTP server.", of::<api::Config>()),
            "database": section("The database.", of::<store::Config>()),
            "storage": section("The disk of the database.", of::<store::Storage>()),
            "llm": {
                "type": "object",
                "description": "Models.",
                "properties": {
                    "default_provider": { "type": "string", "description": "Name of a provider, or `auto`: the first that answers." },
                    "fallback": { "type": "array", "items": { "type": "string" }, "description": "Providers to ask when the first fails." },
                    "ollama_url": { "type": "string", "description": "Where `auto` looks for an Ollama that nobody configured." },
                    "prices": { "type": "object", "additionalProperties": inline(of::<Price>()), "description": "Prices by model." },
                    "tasks": tasks(),
                    "breaker": section("When a provider is left alone.", of::<providers::Rules>()),
                    "transcription": section("Who writes down what is said in voice notes.", of::<Option<providers::Transcription>>()),
                    "cache": section("Answers to repeated requests that are kept.", of::<orchestrator::CacheConfig>()),
                    "providers": { "type": ["object", "null"], "properties": providers, "additionalProperties": { "type": ["object", "null"] } },
                },
                "additionalProperties": false,
            },
            "channels": { "type": ["object", "null"], "description": "Connectors.", "properties": channels, "additionalProperties": { "type": ["object", "null"] } },
            "skills": section("Skills.", of::<skills::Config>()),
            "logging": section("The log.", of::<logging::Config>()),
            "turns": section("Ceilings of turns.", of::<orchestrator::Config>()),
            "delivery": section("The outbox.", of::<orchestrator::Delivery>()),
            "approvals": section("What asks before it is done.", of::<policy::Config>()),
            "budgets": section("What may be spent.", of::<budget::Config>()),
            "scheduler": section("Reminders.", of::<schedule::Config>()),
            "memory": section("Facts and past messages.", of::<memory::Config>()),
            "auth": { "type": ["object", "null"] },
            "agents": { "type": ["object", "null"] },
            "mcp": { "type": ["object", "null"] },
            "alerts": { "type": ["object", "null", "array"] },
            "privacy": section("Events that are counted, in this database alone.", of::<store::analytics::Config>()),
        },
        "additionalProperties": false,
    })
}

/// A list of providers for each task.
fn tasks() -> Value {
    let list = json!({ "type": ["array", "null"], "items": { "type": "string" } });
    let tasks = Task::ALL.map(|task| (task.as_str().to_owned(), list.clone()));
    json!({
        "type": ["object", "null"],
        "description": "Who is asked for what: PROVIDER or PROVIDER/MODEL, in order.",
        "properties": Map::from_iter(tasks),
        "additionalProperties": false,
    })
}

/// The section of a provider also takes `max_concurrent`.
fn limited(mut schema: Value) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let about = "Calls side by side at most.";
        let most = json!({ "type": "integer", "minimum": 1, "description": about });
        properties.insert("max_concurrent".to_owned(), most);
    }
    schema
}

fn of<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

/// A section of a family also takes `kind` and `enabled`.
fn open(schema: Value) -> Value {
    let mut schema = inline(schema);
    if let Some(object) = schema.as_object_mut() {
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("enabled".to_owned(), json!({ "type": "boolean" }));
            properties.insert("kind".to_owned(), json!({ "type": "string" }));
        }
        object.insert("type".to_owned(), json!(["object", "null"]));
    }
    schema
}

/// Definitions that a section refers to, put where they are referred to.
fn inline(mut schema: Value) -> Value {
    let definitions = schema
        .as_object_mut()
        .and_then(|s| s.remove("$defs"))
        .unwrap_or_default();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("title");
    }
    replace(&mut schema, &definitions, 0);
    schema
}

fn replace(value: &mut Value, definitions: &Value, depth: usize) {
    if depth > 16 {
        return;
    }
    let named = value
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|r| definitions.get(r.strip_prefix("#/$defs/")?))
        .cloned();
    if let Some(mut found) = named {
        if let (Some(found), Some(here)) = (found.as_object_mut(), value.as_object()) {
            found.extend(
                here.iter()
                    .filter(|(k, _)| *k != "$ref")
                    .map(|(k, v)| (k.clone(), v.clone())),
            );
        }
        *value = found;
    }
    match value {
        Value::Object(map) => map
            .values_mut()
            .for_each(|v| replace(v, definitions, depth + 1)),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|v| replace(v, definitions, depth + 1)),
        _ => {}
    }
}
