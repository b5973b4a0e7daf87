//! What the text of a SKILL.md says to machines: lists of inputs and outputs.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use serde_json::{Map, Value, json};

use crate::types::text::shorten;

/// The first paragraph, as far as it can stand for a description.
pub(super) fn first_paragraph(body: &str) -> Option<String> {
    let mut text = String::new();
    let mut inside = false;
    for event in Parser::new(body) {
        match event {
            Event::Start(Tag::Paragraph) => inside = true,
            Event::End(TagEnd::Paragraph) if !text.trim().is_empty() => break,
            Event::Text(part) | Event::Code(part) if inside => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak if inside => text.push(' '),
            _ => {}
        }
    }
    let text = text.trim();
    (!text.is_empty()).then(|| shorten(text, 1024))
}

/// The schema that the list below a heading describes: `- name (type, required|optional): text`.
pub(super) fn schema(body: &str, heading: &str) -> Option<Value> {
    let items: Vec<Item> = items(body, heading)
        .iter()
        .filter_map(|i| item(i))
        .collect();
    if items.is_empty() {
        return None;
    }
    let required: Vec<Value> = items
        .iter()
        .filter(|i| i.required)
        .map(|i| i.name.clone().into())
        .collect();
    let properties: Map<String, Value> = items.into_iter().map(|i| (i.name, i.schema)).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if let Some(object) = schema.as_object_mut().filter(|_| !required.is_empty()) {
        object.insert("required".to_owned(), required.into());
    }
    Some(schema)
}

/// The texts of the items of the lists below a heading; nested lists belong to nobody.
fn items(body: &str, heading: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut title, mut in_title, mut depth) = (String::new(), false, 0_usize);
    for event in Parser::new(body) {
        let below = title
            .trim()
            .trim_end_matches(':')
            .eq_ignore_ascii_case(heading);
        match event {
            Event::Start(Tag::Heading { .. }) => {
                title.clear();
                in_title = true;
            }
            Event::End(TagEnd::Heading(_)) => in_title = false,
            Event::Start(Tag::Item) => {
                depth += 1;
                if depth == 1 && below {
                    found.push(String::new());
                }
            }
            Event::End(TagEnd::Item) => depth = depth.saturating_sub(1),
            Event::Text(part) | Event::Code(part) if in_title => title.push_str(&part),
            Event::Text(part) | Event::Code(part) if depth == 1 && below => push(&mut found, &part),
            Event::SoftBreak | Event::HardBreak if depth == 1 && below => push(&mut found, " "),
            _ => {}
        }
    }
    found
}

fn push(found: &mut [String], part: &str) {
    if let Some(last) = found.last_mut() {
        last.push_str(part);
    }
}

struct Item {
    name: String,
    schema: Value,
    required: bool,
}

fn item(text: &str) -> Option<Item> {
    let (name, rest) = text.split_once('(')?;
    let name = name.trim();
    let named = !name.is_empty()
        && name.len() <= 64
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !named {
        return None;
    }
    let (words, about) = rest.split_once(')').unwrap_or((rest, ""));
    let words: Vec<String> = words
        .split([',', ';'])
        .map(|w| w.trim().to_lowercase())
        .collect();
    let about = about.trim_start_matches([':', '-', '–', '—', ' ']).trim();
    let mut schema = Map::new();
    if let Some(kind) = words.iter().find_map(|w| kind(w)) {
        schema.insert("type".to_owned(), kind.into());
    }
    if !about.is_empty() {
        schema.insert("description".to_owned(), about.into());
    }
    let required = words.iter().any(|w| w == "required");
    Some(Item {
        name: name.to_owned(),
        schema: Value::Object(schema),
        required,
    })
}

/// The type of JSON that a word means.
fn kind(word: &str) -> Option<&'static str> {
    if word.ends_with("[]") || word.starts_with("array") || word.starts_with("list") {
        return Some("array");
    }
    match word {
        "string" | "str" | "text" => Some("string"),
        "integer" | "int" => Some("integer"),
        "number" | "float" => Some("number"),
        "boolean" | "bool" => Some("boolean"),
        "object" | "map" | "dict" => Some("object"),
        _ => None,
    }
}
