use proptest::prelude::*;

use super::*;
use crate::{
    providers::{Collected, collect},
    types::{Timestamp, chat::ToolSpec},
};

fn tool(name: &str, schema: Value) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: format!("About {name}."),
        input_schema: schema,
    }
}

fn request(messages: Vec<Message>) -> Request {
    let text = |key: &str| json!({ "type": "object", "properties": { key: { "type": "string" } }, "required": [key] });
    let own = [
        "remember",
        "recall",
        "forget",
        "list_memories",
        "remind",
        "list_reminders",
        "cancel_reminder",
        "list_skills",
        "status",
        "new_session",
    ];
    let mut tools: Vec<ToolSpec> = own.iter().map(|name| tool(name, json!({}))).collect();
    tools.push(tool("shell-run", text("command")));
    tools.push(tool(
        "convert",
        json!({ "type": "object", "required": ["amount", "to"], "properties": {
            "amount": { "type": "number", "description": "how much" },
            "to": { "type": "string" },
            "tags": { "type": "array", "items": { "type": "string" } },
            "round": { "type": "boolean" },
        }}),
    ));
    tools.push(tool("clean-up", json!({ "type": "object" })));
    Request {
        messages,
        tools,
        ..Request::default()
    }
}

fn user(text: &str) -> Message {
    Message::User {
        text: text.to_owned(),
        images: Vec::new(),
    }
}

fn offline() -> Offline {
    Offline::new(Clock::manual(Timestamp(1_800_000_000_000_000)))
}

fn plan(said: &str) -> Plan {
    offline().plan(said, &request(Vec::new()))
}

fn called(said: &str) -> (String, Value) {
    match plan(said) {
        Plan::Call { tool, args } => (tool, args),
        Plan::Say(text) => panic!("{said:?} was answered: {text}"),
    }
}

fn said(text: &str) -> String {
    match plan(text) {
        Plan::Say(text) => text,
        Plan::Call { tool, args } => panic!("{text:?} called {tool} {args}"),
    }
}

async fn answer(messages: Vec<Message>) -> Collected {
    let answer = offline().complete(&request(messages)).await.unwrap();
    collect(answer).await.unwrap()
}

#[test]
fn commands_are_words_at_the_start_and_paths_are_not() {
    for text in [
        "/help",
        " /run x",
        "/nonsense",
        "/help@my_bot",
        "/new\nx",
        "/Status",
    ] {
        assert!(is_command(text), "{text}");
    }
    for text in [
        "/usr/bin",
        "/etc/passwd is",
        "help",
        "a /help",
        "/",
        "/5",
        "//",
        "/a.b",
        "1/2",
        "",
    ] {
        assert!(!is_command(text), "{text}");
    }
}

#[test]
fn commands_call_tools() {
    for (text, tool, args) in [
        ("/skills", "list_skills", json!({})),
        ("/STATUS", "status", json!({})),
        ("/new", "new_session", json!({})),
        ("/remind list", "list_reminders", json!({})),
        ("/remind cancel 7", "cancel_reminder", json!({ "id": "7" })),
        (
            "/remind in 20 minutes drink water",
            "remind",
            json!({ "when": "in 20 minutes", "text": "drink water" }),
        ),
        ("/memory", "list_memories", json!({})),
        ("/memory list", "list_memories", json!({})),
        (
            "/memory add I like tea",
            "remember",
            json!({ "text": "I like tea" }),
        ),
        ("/memory search tea", "recall", json!({ "query": "tea" })),
        ("/memory forget 12", "forget", json!({ "id": "12" })),
        (
            "/run shell-run ls -l a=b",
            "shell-run",
            json!({ "command": "ls -l a=b" }),
        ),
        (
            "/run shell-run {\"command\":\"ls\"}",
            "shell-run",
            json!({ "command": "ls" }),
        ),
        (
            "/run shell-run command='ls -l'",
            "shell-run",
            json!({ "command": "ls -l" }),
        ),
        (
            "/run convert amount=2.5 to=\"US dollars\" tags=a,b round=true",
            "convert",
            json!({ "amount": 2.5, "to": "US dollars", "tags": ["a", "b"], "round": true }),
        ),
        ("/run clean-up", "clean-up", json!({})),
    ] {
        assert_eq!(called(text), (tool.to_owned(), args), "{text}");
    }
}

#[test]
fn plain_requests_call_tools() {
    for (text, tool, args) in [
        (
            "Remind me in 20 minutes to drink water.",
            "remind",
            json!({ "when": "in 20 minutes", "text": "drink water" }),
        ),
        (
            "remind me at 18:30 to call mum",
            "remind",
            json!({ "when": "at 18:30", "text": "call mum" }),
        ),
        (
            "remind me tomorrow at 9 to water the plants",
            "remind",
            json!({ "when": "tomorrow at 9", "text": "water the plants" }),
        ),
        (
            "remind me to call mum in 2 hours",
            "remind",
            json!({ "when": "in 2 hours", "text": "call mum" }),
        ),
        (
            "run `uname -a`",
            "shell-run",
            json!({ "command": "uname -a" }),
        ),
        (
            "Please run the command `ls`.",
            "shell-run",
            json!({ "command": "ls" }),
        ),
        (
            "run ```sh\nls\n```",
            "shell-run",
            json!({ "command": "ls" }),
        ),
        (
            "Remember that I like tea",
            "remember",
            json!({ "text": "I like tea" }),
        ),
        (
            "what did I say about tea?",
            "recall",
            json!({ "query": "tea" }),
        ),
        (
            "What do you know about my car?",
            "recall",
            json!({ "query": "my car" }),
        ),
        ("what do you remember about me?", "list_memories", json!({})),
    ] {
        assert_eq!(called(text), (tool.to_owned(), args), "{text}");
    }
}

#[test]
fn what_is_not_certain_is_not_guessed() {
    for text in [
        "run a marathon",
        "run uname -a",
        "run `a` and `b`",
        "remind me to call mum",
        "remind me of that song",
        "do you remember that day?",
        "remember that day?",
        "what should I cook at 18:30?",
        "напомни мне завтра",
        "",
    ] {
        let answer = said(text);
        assert!(answer.contains("built-in offline mode"), "{text}: {answer}");
        assert!(answer.contains("ANTHROPIC_API_KEY"));
    }
}

#[test]
fn small_talk_and_time() {
    assert!(said("Hello!").contains("offline mode"));
    assert!(said("What can you do?").contains("`convert`"));
    assert!(said("/help").contains("/remind"));
    assert!(said("What time is it?").contains("January 2027"));
}

#[test]
fn mistakes_are_explained() {
    assert!(said("/remnid in 5 minutes x").contains("`/remind`"));
    assert!(said("/xyzzy").contains("/help"));
    assert!(said("/convert 5").contains("/run convert"));
    assert!(said("/remind sometime tea").contains("/remind in 20 minutes"));
    assert!(said("/remind in 5 minutes").contains("/remind in 20 minutes"));
    assert!(said("/memory frobnicate").contains("/memory search"));
    assert!(said("/run").contains("/skills"));
    assert!(said("/run convrt x").contains("`convert`"));
    let needs = said("/run convert five euros");
    assert!(
        needs.contains("`amount` (number, required): how much"),
        "{needs}"
    );
    assert!(needs.contains("`round` (boolean, optional)"));
    assert!(needs.contains("/run convert amount=… to=…"));
}

#[test]
fn a_tool_that_is_not_there_is_not_called() {
    let request = Request::default();
    let plan = offline().plan("/skills", &request);
    assert!(matches!(plan, Plan::Say(text) if text.contains("`list_skills`")));
    let plan = offline().plan("run `ls`", &request);
    assert!(matches!(plan, Plan::Say(text) if text.contains("`shell-run`")));
}

fn conversation(question: &str, tool: &str, text: &str, failed: bool) -> Vec<Message> {
    let call = "c1".to_owned();
    vec![
        user(question),
        Message::Assistant {
            text: String::new(),
            calls: vec![Call {
                id: call.clone(),
                tool: tool.to_owned(),
                args: json!({}),
            }],
            reasoning: None,
        },
        Message::Result {
            call,
            tool: tool.to_owned(),
            text: text.to_owned(),
            failed,
        },
    ]
}

#[tokio::test]
async fn results_become_the_answer() {
    for (text, failed, expected) in [
        ("Reminder 3 is set.", false, "Reminder 3 is set."),
        ("no", true, "`shell-run` failed: no"),
        (
            r#"{"exit_code":0,"stdout":"Linux\n","stderr":""}"#,
            false,
            "```\nLinux\n```",
        ),
        (
            r#"{"exit_code":2,"stdout":"","stderr":"ls: ```"}"#,
            false,
            "Errors:\n\n````\nls: ```\n````\n\nIt ended with exit code 2.",
        ),
        (
            r#"{"exit_code":0,"stdout":""}"#,
            false,
            "Done; it printed nothing.",
        ),
        (r#"{"reply":"Hi","x":1}"#, false, "Hi"),
        (r#"{"text":"T"}"#, false, "T"),
        (r#"{"a":1}"#, false, "```json\n{\n  \"a\": 1\n}\n```"),
        ("", false, "Done."),
    ] {
        let messages = conversation("run `ls`", "shell-run", text, failed);
        let answer = answer(messages).await;
        assert_eq!(answer.text, expected);
        assert_eq!(answer.calls, []);
    }
}

#[tokio::test]
async fn a_turn_that_a_model_left_unfinished_says_so() {
    let messages = conversation("what is the weather?", "fetch", "sunny", false);
    let text = answer(messages).await.text;
    assert!(
        text.starts_with(texts::UNFINISHED) && text.ends_with("sunny"),
        "{text}"
    );
}

#[tokio::test]
async fn only_the_last_question_counts() {
    let mut messages = conversation("run `ls`", "shell-run", "{}", false);
    messages.push(user("/status"));
    let answer = answer(messages).await;
    assert_eq!(answer.calls.len(), 1);
    assert_eq!(answer.calls[0].tool, "status");
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in prop_oneof![any::<String>(), "(/(run|remind|memory) )?[a-z0-9:`'\"= ]{0,40}"]) {
        let deltas = offline().answer(&request(vec![user(&text)]));
        let done = deltas.iter().filter(|d| matches!(d, Delta::Done { .. })).count();
        prop_assert_eq!(done, 1);
        prop_assert!(deltas.len() > 1);
    }

    #[test]
    fn pieces_join(text in any::<String>()) {
        let joined: String = pieces(&text).into_iter().map(|piece| match piece {
            Delta::Text(text) => text,
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(joined, text);
    }
}
