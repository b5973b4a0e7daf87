use proptest::prelude::*;

use super::*;
use crate::{
    providers::{
        collect,
        contract::{tool, user},
    },
    types::chat::{Stop, Usage},
};

/// Text and calls without their ids.
fn read(pieces: &[&str]) -> (String, Vec<(String, Value)>) {
    let mut scanner = Scanner::default();
    let mut out = Vec::new();
    for piece in pieces {
        scanner.push(piece, &mut out);
    }
    scanner.finish(&mut out);
    let (mut text, mut calls) = (String::new(), Vec::new());
    for delta in out {
        match delta {
            Delta::Text(piece) => text.push_str(&piece),
            Delta::Call(call) => calls.push((call.tool, call.args)),
            other => panic!("{other:?}"),
        }
    }
    (text, calls)
}

#[test]
fn blocks_become_calls() {
    let one = ("a".to_owned(), json!({ "x": 1 }));
    for (text, said, calls) in [
        ("plain", "plain", vec![]),
        (
            "Look.\n```tool_call\n{\"tool\":\"a\",\"args\":{\"x\":1}}\n```\n",
            "Look.\n",
            vec![one.clone()],
        ),
        (
            "  ```tool_call\r\n{\"name\":\"a\",\r\n\"arguments\":{\"x\":1}}\r\n```",
            "",
            vec![one.clone()],
        ),
        (
            "```tool_call {\"tool\":\"a\",\"args\":\"{\\\"x\\\":1}\"}```",
            "",
            vec![one.clone()],
        ),
        (
            "```tool_call\n[{\"tool\":\"a\",\"input\":{\"x\":1}},{\"tool\":\"b\"}]\n```",
            "",
            vec![one.clone(), ("b".to_owned(), json!({}))],
        ),
        (
            "```tool_call\n{\"tool\":\"a\",\"args\":{\"x\":1}}\n{\"tool\":\"b\"}\n```",
            "",
            vec![one.clone(), ("b".to_owned(), json!({}))],
        ),
        // Cut off, but whole.
        (
            "```tool_call\n{\"tool\":\"a\",\"args\":{\"x\":1}}",
            "",
            vec![one.clone()],
        ),
        // Results that it made up are not said.
        (
            "```tool_call\n{\"tool\":\"a\",\"args\":{\"x\":1}}\n```\nIt gave 7.\n",
            "",
            vec![one.clone()],
        ),
        (
            "```tool_call\n{\"tool\": \"a\", \"args\": {x}\n```",
            "",
            vec![("a".to_owned(), json!("{\"tool\": \"a\", \"args\": {x}"))],
        ),
        ("```tool_call\n```", "", vec![]),
        // Other fences, and the words in a line, are text.
        (
            "```rust\nfn a() {}\n```\n",
            "```rust\nfn a() {}\n```\n",
            vec![],
        ),
        (
            "Write ```tool_call to call.",
            "Write ```tool_call to call.",
            vec![],
        ),
        ("``", "``", vec![]),
    ] {
        assert_eq!(read(&[text]), (said.to_owned(), calls), "{text}");
    }
}

#[test]
fn tools_and_what_came_of_them_are_told_in_words() {
    let asked = Request {
        system: "Be kind.".to_owned(),
        messages: vec![
            user("q"),
            Message::Assistant {
                text: "Look.".to_owned(),
                calls: vec![Call {
                    id: "1".to_owned(),
                    tool: "a".to_owned(),
                    args: json!({ "x": 1 }),
                }],
                reasoning: None,
            },
            Message::Result {
                call: "1".to_owned(),
                tool: "a".to_owned(),
                text: "seven".to_owned(),
                failed: true,
            },
        ],
        tools: vec![tool("a")],
        ..Request::default()
    };
    let told = request(&asked);
    assert!(told.tools.is_empty());
    assert!(
        told.system.starts_with("Be kind.\n\n# Tools") && told.system.contains("## a\nDoes a.")
    );
    let Message::Assistant { text, calls, .. } = &told.messages[1] else {
        panic!("{told:?}");
    };
    assert!(calls.is_empty());
    // What it is told it said is what it would have said.
    assert_eq!(read(&[text]).1, [("a".to_owned(), json!({ "x": 1 }))]);
    assert!(
        matches!(&told.messages[2], Message::User { text, .. } if text.contains("`a` failed") && text.contains("seven"))
    );
}

#[tokio::test]
async fn an_answer_keeps_its_end() {
    let deltas = ["Hm.\n``", "`tool_call\n{\"tool\":", "\"a\"}\n", "``", "`\n"];
    let mut deltas: Vec<_> = deltas
        .iter()
        .map(|p| Ok(Delta::Text((*p).to_owned())))
        .collect();
    deltas.push(Ok(Delta::Done {
        usage: Usage::default(),
        stop: Stop::Done,
    }));
    let answer = collect(answer(stream::iter(deltas).boxed())).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.calls.len()), ("Hm.\n", 1));
}

proptest! {
    #[test]
    fn any_split_gives_the_same(parts in prop::collection::vec(prop_oneof![
        Just("```tool_call"), Just("```"), Just("\n"), Just("`"), Just(" "), Just("text"), Just("é🦀"),
        Just("{\"tool\":\"a\",\"args\":{}}"), Just("```rust"), Just("\r\n"),
    ], 0..12), cuts in prop::collection::vec(0usize..80, 0..8)) {
        let text = parts.concat();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|at| text.is_char_boundary(*at)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(&pieces), read(&[&text]));
    }
}
