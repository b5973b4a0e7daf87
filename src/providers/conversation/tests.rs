use proptest::prelude::*;

use super::*;
use crate::providers::contract::{messages, user};

fn assistant(text: &str, calls: &[&str]) -> Message {
    let call = |id: &&str| Call {
        id: (*id).to_owned(),
        tool: "t".to_owned(),
        args: json!({}),
    };
    Message::Assistant {
        text: text.to_owned(),
        calls: calls.iter().map(call).collect(),
        reasoning: None,
    }
}

fn reader(images: bool) -> Reader<'static> {
    Reader { images, by: "p/m" }
}

fn result(call: &str, text: &str) -> Message {
    Message::Result {
        call: call.to_owned(),
        tool: "t".to_owned(),
        text: text.to_owned(),
        failed: false,
    }
}

/// `U:text`, `A:text[id=result,…]`.
fn shape(messages: &[Message]) -> Vec<String> {
    let parts = normal(messages, reader(true));
    let shapes = parts.iter().map(|part| match part {
        Part::User { text, .. } => format!("U:{text}"),
        Part::Assistant { text, calls, .. } => {
            let calls: Vec<String> = calls
                .iter()
                .map(|c| format!("{}={}", c.id, c.result))
                .collect();
            format!("A:{text}[{}]", calls.join(","))
        }
    });
    shapes.collect()
}

#[test]
fn a_good_conversation_stays_as_it_is() {
    let messages = [
        user("q"),
        assistant("let me see", &["1", "2"]),
        result("1", "one"),
        result("2", "two"),
        assistant("so", &[]),
        user("thanks"),
    ];
    assert_eq!(
        shape(&messages),
        ["U:q", "A:let me see[1=one,2=two]", "A:so[]", "U:thanks"]
    );
}

#[test]
fn what_is_missing_is_filled_in_and_what_is_lost_is_dropped() {
    for (messages, expected) in [
        (vec![], vec!["U:(The conversation goes on from here.)"]),
        (vec![user("a"), user(" "), user("b")], vec!["U:a\n\nb"]),
        (
            vec![user("a"), result("9", "orphan"), user("b")],
            vec!["U:a\n\nb"],
        ),
        (
            vec![user("a"), assistant(" ", &[]), user("b")],
            vec!["U:a\n\nb"],
        ),
        (
            vec![user("a"), assistant("x", &[]), assistant("y", &["1"])],
            vec!["U:a", "A:x\n\ny[1=no result was recorded]"],
        ),
        (
            vec![user("a"), assistant("x", &[])],
            vec!["U:a", "A:x[]", "U:Please go on."],
        ),
        (
            vec![assistant("x", &["1"]), result("1", "r")],
            vec!["U:(The conversation goes on from here.)", "A:x[1=r]"],
        ),
        // A message that came while the tools ran.
        (
            vec![
                user("a"),
                assistant("", &["1"]),
                user("wait"),
                result("1", "r"),
            ],
            vec!["U:a", "A:[1=r]", "U:wait"],
        ),
        // The same id again, in one answer and in the next.
        (
            vec![
                user("a"),
                assistant("", &["1", "1"]),
                result("1", "r"),
                result("1", "s"),
                assistant("", &["1"]),
            ],
            vec![
                "U:a",
                "A:[1=r,call_1=s]",
                "A:[call_2=no result was recorded]",
            ],
        ),
        (
            vec![user("a"), assistant("", &["a.b/c"]), result("a.b/c", "")],
            vec!["U:a", "A:[call_0=(no output)]"],
        ),
    ] {
        assert_eq!(shape(&messages), expected);
    }
}

#[test]
fn names_and_arguments_fit_every_dialect() {
    assert_eq!(tool_name("shell-run_2"), "shell-run_2");
    assert_eq!(tool_name("функция.x y"), "________x_y");
    assert_eq!(tool_name(""), "unknown");
    assert_eq!(*as_object(&json!("{")), json!({ "unreadable": "{" }));
    assert_eq!(*as_object(&Value::Null), json!({}));
}

#[test]
fn arguments_are_read_as_models_write_them() {
    for (text, expected) in [
        ("", json!({})),
        ("null", json!({})),
        (" {\"a\":1} ", json!({ "a": 1 })),
        ("\"{\\\"a\\\":1}\"", json!({ "a": 1 })),
        ("{\"a\":", json!("{\"a\":")),
        ("[1]", json!("[1]")),
        ("\"x\"", json!("\"x\"")),
    ] {
        assert_eq!(arguments(text.to_owned()), expected);
    }
}

#[test]
fn images_that_cannot_be_shown_are_mentioned() {
    let image = |kind: &str| Attachment {
        name: "cat".to_owned(),
        media_type: kind.to_owned(),
        data: vec![0],
    };
    let messages = [Message::User {
        text: String::new(),
        images: vec![image("image/png"), image("image/tiff")],
    }];
    let count = |images| match normal(&messages, reader(images)).remove(0) {
        Part::User { text, images } => (images.len(), text.matches("cat").count()),
        other @ Part::Assistant { .. } => panic!("{other:?}"),
    };
    assert_eq!(count(true), (1, 1));
    assert_eq!(count(false), (0, 2));
}

#[test]
fn only_a_models_own_thoughts_are_given_back() {
    let thought = |by: &str| Message::Assistant {
        text: String::new(),
        calls: vec![Call {
            id: "1".to_owned(),
            tool: "t".to_owned(),
            args: json!({}),
        }],
        reasoning: Some(crate::types::chat::Reasoning {
            by: by.to_owned(),
            text: "hm".to_owned(),
            kept: vec![json!("signed")],
        }),
    };
    for (by, expected) in [("p/m", 1), ("p/other", 0), ("other/m", 0)] {
        let messages = [user("q"), thought(by), result("1", "r")];
        let parts = normal(&messages, reader(true));
        assert!(
            matches!(&parts[1], Part::Assistant { thoughts, .. } if thoughts.len() == expected)
        );
    }
}

proptest! {
    #[test]
    fn the_normal_form_keeps_its_promises(messages in messages(), images in any::<bool>()) {
        let parts = normal(&messages, reader(images));
        let is_user = |part: &Part<'_>| matches!(part, Part::User { .. });
        let is_plain = |part: &Part<'_>| matches!(part, Part::Assistant { calls, .. } if calls.is_empty());
        prop_assert!(is_user(&parts[0]));
        prop_assert!(!is_plain(parts.last().unwrap()));
        for pair in parts.windows(2) {
            prop_assert!(!(is_user(&pair[0]) && is_user(&pair[1])));
            prop_assert!(!is_plain(&pair[0]) || is_user(&pair[1]));
        }
        let mut ids = HashSet::new();
        for part in &parts {
            match part {
                Part::User { text, images } => prop_assert!(!text.trim().is_empty() || !images.is_empty()),
                Part::Assistant { text, calls, .. } => {
                    prop_assert!(!text.trim().is_empty() || !calls.is_empty());
                    for asked in calls {
                        prop_assert!(ids.insert(asked.id.clone()));
                        prop_assert!(asked.args.is_object() && !asked.result.trim().is_empty());
                    }
                }
            }
        }
    }
}
