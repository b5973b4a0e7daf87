//! From `tracing` events to lines: the fields of the spans around an event stand on its line.

use std::fmt::Debug;

use serde_json::{Map, Value};
use tracing::{
    Event, Id, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, Scope},
};

use super::{Handle, Line};

/// Writes every event as a line.
pub(super) struct Lines {
    pub(super) log: Handle,
}

/// Fields of a span.
struct Fields(Map<String, Value>);

struct Collect<'a>(&'a mut Map<String, Value>);

/// Names that every line has already.
const TAKEN: &[&str] = &["timestamp", "level", "target"];

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let name = if TAKEN.contains(&name) {
            format!("field_{name}")
        } else {
            name.to_owned()
        };
        self.0.insert(name, value);
    }
}

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::String(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        let value = u64::try_from(value).unwrap_or(u64::MAX);
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// In a span `message` is a field like any other; on a line it is the line's own.
fn of_span(mut fields: Map<String, Value>) -> Map<String, Value> {
    if let Some(message) = fields.remove("message") {
        fields.insert("field_message".to_owned(), message);
    }
    fields
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut Collect(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Fields(of_span(fields)));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        // Recorded before the span is locked: a value that logs while it is shown would wait forever.
        let mut fields = Map::new();
        values.record(&mut Collect(&mut fields));
        if let Some(span) = context.span(id)
            && let Some(Fields(there)) = span.extensions_mut().get_mut::<Fields>()
        {
            there.extend(of_span(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(Scope::from_root)
        {
            if let Some(Fields(of_span)) = span.extensions().get::<Fields>() {
                fields.extend(of_span.clone());
            }
        }
        event.record(&mut Collect(&mut fields));
        let message = match fields.remove("message") {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let metadata = event.metadata();
        let level = metadata.level().as_str().to_ascii_lowercase();
        let mut line = Line::plain(&level, metadata.target(), &message);
        line.fields = fields;
        self.log.take(line);
    }
}

/// A panic is a line of the log too, and always stands on standard error.
pub(super) fn log_panics(log: Handle) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no reason given");
        let mut line = Line::plain("error", "nexflow::logging", &format!("panicked: {text}"));
        line.fields.insert("place".to_owned(), place.into());
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            let text = backtrace.to_string();
            line.fields.insert("backtrace".to_owned(), text.into());
        }
        log.take_loudly(line);
    }));
}
