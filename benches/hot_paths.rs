//! What runs for every message or every streamed piece: `cargo bench`. Whole processes are measured by
//! `nexflow bench`.

use std::collections::BTreeMap;

use divan::{Bencher, black_box};
use nexflow::{
    budget::Budgets,
    bus::Bus,
    net::{Http, sse::Parser},
    policy::{self, Case, Flow, Grant, pattern::Pattern},
    providers::{Providers, Settings, Wish},
    schedule::When,
    skills::manifest,
    store::{
        Store, StoreError,
        reservations::{self, Bill, Wanted},
        usage::{self, Ended, Spent},
        users::Role,
    },
    types::{
        AttemptId, Clock, Entry, GrantId, Secret, SessionId, Task, TurnId, UserId,
        chat::{Usage, estimate_tokens},
        effect::Effects,
        money::{Price, PriceSource, Quote, Usd},
        secret::mask,
        text::clean,
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

/// Check and reserve, then settle, with a million usage rows of a hundred people in the database, limits
/// in every scope, and two hundred calls that run. One transaction, rolled back.
#[divan::bench(sample_count = 50)]
fn reserve_and_settle_after_a_million_calls(bencher: Bencher<'_, '_>) {
    let Ok(history) = History::new(1_000_000, 200) else {
        return;
    };
    bencher.bench(|| history.reserve_and_settle());
}

/// The same with no history: what the million may add is the difference.
#[divan::bench(sample_count = 50)]
fn reserve_and_settle_at_first(bencher: Bencher<'_, '_>) {
    let Ok(history) = History::new(0, 0) else {
        return;
    };
    bencher.bench(|| history.reserve_and_settle());
}

/// A database with calls in it.
struct History {
    runtime: tokio::runtime::Runtime,
    store: Store,
    budgets: Budgets,
    people: Vec<UserId>,
    _folder: tempfile::TempDir,
}

impl History {
    fn new(calls: u32, running: u32) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let folder = tempfile::tempdir()?;
        let store = Store::open(&folder.path().join("b.db"), &Bus::new(Clock::system()))?;
        let people: Vec<UserId> = (0..100).map(|_| UserId::new()).collect();
        let limits = json!({ "hard": "100000", "per_turn": { "hard": "1" }, "per_session": { "hard": "100" },
            "per_user": { "hard": "10000" }, "per_agent": { "hard": "100000" }, "per_channel": { "hard": "100000" },
            "per_day": { "hard": "100000" }, "per_month": { "hard": "100000" } });
        let config = serde_json::from_value(limits)?;
        let history = Self {
            runtime,
            store,
            budgets: Budgets::new(config, &BTreeMap::new(), &[]),
            people,
            _folder: folder,
        };
        let (now, users) = (Clock::system().now(), history.people.clone());
        let wanted: Vec<Wanted> = (0..running).map(|n| history.wanted(n)).collect();
        history.runtime.block_on(history.store.write(move |tx| {
            for (n, user) in (0..calls).zip(users.iter().cycle()) {
                usage::insert(tx, &spent(AttemptId::new(), bill(*user, n)), now)?;
            }
            for one in &wanted {
                reservations::reserve(tx, one, now)?;
            }
            Ok(())
        }))?;
        Ok(history)
    }

    fn wanted(&self, n: u32) -> Wanted {
        let user = self.people.get(n as usize % self.people.len()).copied();
        let bill = bill(user.unwrap_or_else(UserId::new), n);
        let price = Price {
            input_per_mtok: Usd(3_000_000_000),
            output_per_mtok: Usd(15_000_000_000),
            cached_per_mtok: None,
        };
        Wanted {
            id: AttemptId::new(),
            windows: self
                .budgets
                .windows(&bill, (Clock::system().now(), chrono_tz::UTC)),
            bill,
            attempt: 1,
            provider: "p".to_owned(),
            model: "m".to_owned(),
            quote: Quote {
                price,
                source: PriceSource::List,
                as_of: None,
            },
            input_tokens: 3000,
            max_output_tokens: 4096,
            least_output_tokens: 256,
        }
    }

    /// The error at the end is what rolls it back: no disk is measured.
    fn reserve_and_settle(&self) {
        let (wanted, now) = (self.wanted(7), Clock::system().now());
        let write = self.store.write(move |tx| {
            let verdict = reservations::reserve(tx, &wanted, now)?;
            let spent = spent(wanted.id, wanted.bill.clone());
            reservations::settle(tx, &spent, &wanted.windows, now)?;
            black_box(verdict);
            Err::<(), _>(StoreError::Closed("measured"))
        });
        drop(self.runtime.block_on(write));
    }
}

fn bill(user: UserId, n: u32) -> Bill {
    // A conversation of some thousand calls.
    let session = uuid::Uuid::from_u128(u128::from(n % 300));
    Bill {
        step: None,
        turn: Some(TurnId::new()),
        session: SessionId(session),
        user,
        person: user,
        agent: "default".to_owned(),
        channel: "web".to_owned(),
        schedule: None,
        purpose: "chat".to_owned(),
    }
}

fn spent(id: AttemptId, bill: Bill) -> Spent {
    Spent {
        id,
        bill,
        attempt: 1,
        provider: "p".to_owned(),
        model: "m".to_owned(),
        usage: Usage {
            input_tokens: 3000,
            output_tokens: 300,
            ..Usage::default()
        },
        cost: Usd(13_500),
        source: PriceSource::List,
        ended: Ended::Ok,
        error: None,
        detail: None,
        task: Some(Task::Chat),
        started_at: Clock::system().now(),
    }
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
