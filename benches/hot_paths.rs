//! What runs for every message or every streamed piece: `cargo bench`. Whole processes are measured by
//! `nexflow bench`.

use divan::{Bencher, black_box};
use nexflow::{
    net::{Http, sse::Parser},
    policy::{self, Case, Flow, Grant, pattern::Pattern},
    providers::{Providers, Settings, Wish},
    schedule::When,
    skills::manifest,
    store::users::Role,
    types::{
        Clock, Entry, GrantId, Secret, SessionId, Task, UserId, chat::estimate_tokens,
        effect::Effects, secret::mask, text::clean,
    },
};
use serde_json::json;

fn main() {
    divan::main();
}

/// Ten thousand words of output.
fn words() -> String {
    "the quick brown fox jumps over the lazy dog \u{1b}[31mred\u{1b}[0m\n".repeat(1000)
}

#[divan::bench]
fn mask_with_twenty_secrets(bencher: Bencher<'_, '_>) {
    let _secrets: Vec<Secret> = (0..20)
        .map(|n| Secret::new(format!("a-secret-of-the-benchmark-{n}")))
        .collect();
    let text = words();
    bencher.bench(|| mask(black_box(&text)).len());
}

#[divan::bench]
fn clean_output(bencher: Bencher<'_, '_>) {
    let text = words();
    bencher.bench(|| clean(black_box(&text)).len());
}

#[divan::bench]
fn estimate(bencher: Bencher<'_, '_>) {
    let text = words();
    bencher.bench(|| estimate_tokens(black_box(&text)));
}

#[divan::bench]
fn understand_a_time(bencher: Bencher<'_, '_>) {
    let now = Clock::system().now();
    bencher.bench(|| When::parse(black_box("tomorrow at 9"), now, chrono_tz::Europe::Berlin));
}

#[divan::bench]
fn read_a_manifest(bencher: Bencher<'_, '_>) {
    let text = include_bytes!("../skills/shell-run/SKILL.md");
    bencher.bench(|| manifest::parse(black_box(text), "shell-run"));
}

#[divan::bench]
fn split_a_stream(bencher: Bencher<'_, '_>) {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"word \"}}]}\n\n".repeat(1000);
    bencher.bench(|| {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in stream.as_bytes().chunks(1400) {
            parser.push(black_box(piece), &mut events).ok();
        }
        events.len()
    });
}

/// Twenty rules and fifty grants, none of which fits until the last; the gate is up.
#[divan::bench]
fn decide_a_call(bencher: Bencher<'_, '_>) {
    let rules: Vec<_> = (0..20)
        .map(|n| {
            json!({ "skill": format!("skill-{n}"), "channel": "web", "decision": "allow",
                    "when": { "command": "git *" } })
        })
        .chain([json!({ "skill": "shell-*", "decision": "ask" })])
        .collect();
    let config = serde_json::from_value(json!({ "rules": rules })).unwrap_or_default();
    let clock = Clock::system();
    let grants: Vec<Grant> = (0..50)
        .map(|n| Grant {
            id: GrantId::new(),
            session_id: None,
            person_id: UserId::new(),
            tool: "shell-run".to_owned(),
            hash: "hash".to_owned(),
            pattern: serde_json::to_value(Pattern::of(
                "shell-run",
                &json!({ "command": format!("program{n} x") }),
            ))
            .unwrap_or_default(),
            gated: true,
            approval_id: None,
            made_by: "owner".to_owned(),
            created_at: clock.now(),
            expires_at: None,
            used: 0,
            used_at: None,
        })
        .collect();
    let args = json!({ "command": "program49 --with 'some words' and more" });
    let flow = Flow {
        untrusted: Some("the page https://example.org was read".to_owned()),
        private: Some("what is kept in memory".to_owned()),
    };
    bencher.bench(|| {
        let case = Case {
            tool: "shell-run",
            args: black_box(&args),
            effects: Effects::CHANGES_STATE,
            hash: "hash",
            confirm: false,
            channel: "web",
            role: Role::Owner,
            flow: &flow,
            grants: &grants,
            planned: false,
        };
        policy::decide(black_box(&config), &case)
    });
}

/// Who is asked, and the right to ask: ten providers, a list of five, two of them chosen.
#[divan::bench]
fn route_a_request(bencher: Bencher<'_, '_>) {
    let name = |n: usize| format!("p{n}");
    let entries = (0..10).map(|n| Entry {
        name: name(n),
        kind: "custom".to_owned(),
        settings: json!({ "base_url": "http://127.0.0.1:1", "api_key": "k", "model": "m" })
            .as_object()
            .cloned()
            .unwrap_or_default(),
    });
    let settings = Settings {
        entries: entries.collect(),
        tasks: [(Task::Chat, (0..5).map(name).collect())].into(),
        ollama_url: None,
        ..Settings::default()
    };
    let providers = Providers::new(settings, &Http::new());
    let wish = Wish {
        preferred: vec!["p9/large".to_owned(), "p8".to_owned()],
        ..Wish::of(Task::Chat)
    };
    let session = SessionId::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    bencher.bench_local(|| {
        runtime.block_on(async {
            let chain = providers.route(black_box(&wish)).await.unwrap_or_default();
            if let Some(first) = chain.first()
                && let Ok(pass) = first.enter(session, false).await
            {
                pass.answered();
            }
        });
    });
}
