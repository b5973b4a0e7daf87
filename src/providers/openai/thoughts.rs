//! Thoughts of models that speak OpenAI's dialect, which has no word for them: each family of servers
//! made up its own.

use serde_json::{Map, Value, json};

use super::stream::Piece;

/// The names under which thoughts come, and go back.
const CONTENT: &str = "reasoning_content";
const PLAIN: &str = "reasoning";
const DETAILS: &str = "reasoning_details";

/// Thoughts that are being put together.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    content: String,
    plain: String,
    details: Vec<Value>,
}

impl Thoughts {
    /// Takes up what is thought in a piece; gives back what a person may read of it.
    pub(super) fn take(&mut self, piece: &Piece<'_>) -> Option<String> {
        for detail in piece.reasoning_details.iter().flatten() {
            self.detail(detail);
        }
        let (to, said) = match (&piece.reasoning_content, &piece.reasoning) {
            (Some(said), _) => (&mut self.content, said),
            // What is said here is said in the details too.
            (None, Some(said)) => (&mut self.plain, said),
            (None, None) => return None,
        };
        to.push_str(said);
        (!said.is_empty()).then(|| said.to_string())
    }

    /// Details come in pieces too: those of one index and type belong together.
    fn detail(&mut self, detail: &Value) {
        let same = |other: &Value, key: &str| other.get(key) == detail.get(key);
        let last = self.details.last_mut();
        let known = last.filter(|last| same(last, "type") && same(last, "index"));
        let Some(known) = known.and_then(Value::as_object_mut) else {
            self.details.push(detail.clone());
            return;
        };
        for (key, more) in detail.as_object().into_iter().flatten() {
            match (known.get_mut(key), more) {
                (Some(Value::String(text)), Value::String(more))
                    if matches!(key.as_str(), "text" | "summary" | "data") =>
                {
                    text.push_str(more);
                }
                (Some(Value::Null) | None, _) => {
                    known.insert(key.clone(), more.clone());
                }
                _ => {}
            }
        }
    }

    /// What is given back: at most one entry, the fields of the message.
    pub(super) fn kept(self) -> Vec<Value> {
        let mut fields = Map::new();
        if !self.content.is_empty() {
            fields.insert(CONTENT.to_owned(), json!(self.content));
        }
        if !self.details.is_empty() {
            fields.insert(DETAILS.to_owned(), json!(self.details));
        } else if !self.plain.is_empty() {
            fields.insert(PLAIN.to_owned(), json!(self.plain));
        }
        if fields.is_empty() {
            return Vec::new();
        }
        vec![Value::Object(fields)]
    }
}

/// Puts thoughts back into the message that they came with.
pub(super) fn put(thoughts: &[Value], message: &mut Map<String, Value>) {
    let fields = thoughts.iter().filter_map(Value::as_object).flatten();
    for (key, value) in fields {
        if matches!(key.as_str(), CONTENT | PLAIN | DETAILS) {
            message.insert(key.clone(), value.clone());
        }
    }
}
