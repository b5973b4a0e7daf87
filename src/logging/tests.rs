//! Lines as they are written.

use std::fmt;

use super::*;

/// Logs while it is shown.
struct Chatty;

impl fmt::Debug for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info!("while it is shown");
        f.write_str("chatty")
    }
}

fn last(log: &Handle, message: &str) -> Arc<Line> {
    let recent = log.recent(KEPT, "trace");
    let found = recent.iter().rev().find(|line| line.message == message);
    Arc::clone(found.unwrap())
}

#[test]
fn fields_do_not_take_the_names_of_a_line() {
    let log = start(&Config::default());
    let span = tracing::info_span!("outer", message = "of a span", more = tracing::field::Empty);
    span.in_scope(|| {
        tracing::warn!(
            level = 7,
            target = "x",
            timestamp = "never",
            "names that are taken"
        );
    });
    let line = last(&log, "names that are taken");
    let json = line.json();
    for (key, value) in [
        ("field_level", "7"),
        ("field_target", "\"x\""),
        ("field_timestamp", "\"never\""),
        ("field_message", "\"of a span\""),
    ] {
        assert!(json.contains(&format!("\"{key}\":{value}")), "{json}");
    }
    for key in ["level", "target", "timestamp", "message"] {
        assert_eq!(json.matches(&format!("\"{key}\":")).count(), 1, "{json}");
    }
    assert_eq!(line.level, "warn");
}

#[test]
fn a_value_that_logs_while_it_is_recorded_blocks_nothing() {
    let log = start(&Config::default());
    let span = tracing::info_span!("outer", more = tracing::field::Empty);
    span.record("more", tracing::field::debug(Chatty));
    span.in_scope(|| tracing::info!("after the chatty one"));
    let line = last(&log, "after the chatty one");
    assert_eq!(line.fields["more"], "chatty");
}

#[test]
fn pretty_lines_are_one_line_without_foreign_controls() {
    let mut line = Line::plain("info", "t", "one\ntwo\u{1b}[31m\u{7}red");
    line.fields.insert("a".to_owned(), "x\r\ny".into());
    let text = line.pretty();
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    assert!(text.contains("one\\ntwored"), "{text:?}");
    assert!(text.contains("x\\ny"), "{text:?}");
}

#[test]
fn levels_are_understood_or_told() {
    let shown = |level| directives(level).map(|filter| filter.to_string());
    assert_eq!(shown("warning"), Ok("warn".to_owned()));
    assert_eq!(shown("WARN"), Ok("warn".to_owned()));
    assert!(
        shown("info,nexflow::api=debug")
            .unwrap()
            .contains("nexflow::api=debug")
    );
    assert!(shown("nexflow::api=Warning").unwrap().contains("warn"));
    assert!(shown("nexflow").is_ok());
    for wrong in ["loud", "", "info,hyper=loud", "5x"] {
        assert!(shown(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_panic_is_a_line_also_when_the_log_is_off() {
    let log = start(&Config::default());
    let caught = std::panic::catch_unwind(|| panic!("a panic of a test"));
    assert!(caught.is_err());
    let line = last(&log, "panicked: a panic of a test");
    assert_eq!(line.level, "error");
    assert!(line.fields["place"].to_string().contains("tests.rs"));
}
