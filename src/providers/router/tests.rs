use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::json;

use super::{
    slot::{BAD, GOOD},
    *,
};
use std::time::Duration;

use crate::{
    providers::{
        Answer, ProviderError, Request,
        contract::{Fake, Reply},
    },
    types::SessionId,
};

fn entry(name: &str, kind: &str, url: &str) -> Entry {
    let settings = json!({ "base_url": url, "model": "m", "api_key": "k" });
    Entry {
        name: name.to_owned(),
        kind: kind.to_owned(),
        settings: settings.as_object().cloned().unwrap(),
    }
}

fn set(default: &str, fallback: &[&str], entries: Vec<Entry>) -> Providers {
    let settings = Settings {
        entries,
        default_provider: default.to_owned(),
        fallback: fallback.iter().map(|name| (*name).to_owned()).collect(),
        ollama_url: None,
        ..Settings::default()
    };
    Providers::new(settings, &Http::new())
}

/// A set whose providers are these.
fn of(default: &str, fallback: &[&str], scripted: Vec<(&str, Scripted)>) -> Providers {
    let entries = scripted
        .iter()
        .map(|(name, _)| entry(name, "custom", "http://x"));
    let mut set = set(default, fallback, entries.collect());
    let inner = Arc::get_mut(&mut set.inner).unwrap();
    for (slot, (name, provider)) in inner.slots.iter_mut().zip(scripted) {
        Arc::get_mut(slot).unwrap().provider = Arc::new(Scripted {
            name: name.to_owned(),
            ..provider
        });
    }
    set
}

#[derive(Default)]
struct Scripted {
    name: String,
    well: bool,
    slow: Duration,
    checks: Arc<AtomicUsize>,
}

#[async_trait]
impl Provider for Scripted {
    fn about(&self) -> About {
        About {
            name: self.name.clone(),
            model: "m".to_owned(),
            context_tokens: 1_000,
            max_output_tokens: None,
            tools: true,
            images: false,
            offline: false,
            price: None,
        }
    }

    fn about_model(&self, model: &str) -> About {
        About {
            model: model.to_owned(),
            ..self.about()
        }
    }

    async fn models(&self) -> Result<Vec<About>, ProviderError> {
        Ok(vec![self.about()])
    }

    async fn complete(&self, _: &Request) -> Result<Answer, ProviderError> {
        Err(down())
    }

    async fn check(&self) -> Result<(), ProviderError> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.slow).await;
        if self.well { Ok(()) } else { Err(down()) }
    }
}

fn down() -> ProviderError {
    ProviderError::down("x", "gone")
}

fn well() -> Scripted {
    Scripted {
        well: true,
        ..Scripted::default()
    }
}

fn ill() -> Scripted {
    Scripted::default()
}

async fn picked(set: &Providers) -> String {
    set.pick().await.name
}

async fn chain(set: &Providers) -> Vec<String> {
    names(set, &Wish::default()).await
}

/// `PROVIDER`, or `PROVIDER/MODEL` where it is not the provider's own.
async fn names(set: &Providers, wish: &Wish) -> Vec<String> {
    let chain = set.route(wish).await.unwrap();
    let name = |choice: &Choice| match &choice.model {
        Some(_) => choice.name(),
        None => choice.about().name,
    };
    chain.iter().map(name).collect()
}

async fn fail(set: &Providers, name: &str, error: &ProviderError) {
    let choice = set.choice(name).unwrap();
    let pass = choice.enter(SessionId::new(), true).await.unwrap();
    pass.failed(error);
}

async fn answer(set: &Providers, name: &str) {
    let choice = set.choice(name).unwrap();
    choice
        .enter(SessionId::new(), true)
        .await
        .unwrap()
        .answered();
}

#[tokio::test(start_paused = true)]
async fn auto_takes_the_first_that_answers() {
    let set = of(
        "auto",
        &[],
        vec![("a", ill()), ("b", well()), ("c", well())],
    );
    assert_eq!(picked(&set).await, "b");
    assert_eq!(chain(&set).await, ["b", "offline"]);
    let none = of("auto", &[], vec![("a", ill())]);
    assert_eq!(picked(&none).await, "offline");
    assert_eq!(
        chain(&of("offline", &["a"], vec![("a", well())])).await[0],
        "offline"
    );
}

#[tokio::test(start_paused = true)]
async fn a_check_holds_for_a_while_and_is_short() {
    let slow = Scripted {
        well: true,
        slow: Duration::from_mins(1),
        ..Scripted::default()
    };
    let checks = slow.checks.clone();
    let set = of("auto", &[], vec![("slow", slow), ("b", well())]);
    let start = tokio::time::Instant::now();
    assert_eq!(picked(&set).await, "b");
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(picked(&set).await, "b");
    assert_eq!(
        (checks.load(Ordering::Relaxed), start.elapsed().as_secs()),
        (1, 2)
    );
    tokio::time::advance(GOOD).await;
    assert_eq!(picked(&set).await, "b");
    assert_eq!(checks.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_leads_to_another_and_is_forgotten() {
    let set = of("auto", &[], vec![("a", well()), ("b", well())]);
    assert_eq!(picked(&set).await, "a");
    fail(&set, "a", &down()).await;
    assert_eq!(picked(&set).await, "b");
    assert_eq!(chain(&set).await, ["b", "offline"]);
    tokio::time::advance(BAD).await;
    assert_eq!(picked(&set).await, "a");

    let slow_down = ProviderError::RateLimited {
        provider: "a".to_owned(),
        after: Some(Duration::from_secs(90)),
        detail: String::new(),
    };
    fail(&set, "a", &slow_down).await;
    tokio::time::advance(Duration::from_secs(80)).await;
    assert_eq!(picked(&set).await, "b");
    tokio::time::advance(Duration::from_secs(10)).await;
    answer(&set, "a").await;
    assert_eq!(picked(&set).await, "a");
}

#[tokio::test(start_paused = true)]
async fn a_named_default_is_not_checked_and_has_its_fallback() {
    let first = ill();
    let checks = first.checks.clone();
    let three = vec![("a", first), ("b", well()), ("c", well())];
    let set = of("a", &["c", "nobody"], three);
    assert_eq!(chain(&set).await, ["a", "c", "offline"]);
    for _ in 0..3 {
        fail(&set, "a", &down()).await;
    }
    assert_eq!(chain(&set).await, ["a", "c", "offline"]);
    assert_eq!(picked(&set).await, "c", "the first is left alone");
    assert_eq!(checks.load(Ordering::Relaxed), 0);
    assert!(set.reset("a") && !set.reset("nobody"));
    assert_eq!(picked(&set).await, "a");
}

#[tokio::test(start_paused = true)]
async fn what_is_chosen_goes_before_the_list_of_the_task() {
    let three = vec![("a", well()), ("b", well()), ("c", well())];
    let mut set = of("a", &["c"], three);
    let inner = Arc::get_mut(&mut set.inner).unwrap();
    let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    inner.tasks = Tasks::from([
        (Task::Classify, list(&["b/small", "b", "nobody", "a"])),
        (Task::Embed, list(&["nobody"])),
    ]);
    let wish = |task, preferred: &[&str]| Wish {
        task,
        exact: None,
        preferred: list(preferred),
    };
    let of = |task, preferred: &'static [&str]| {
        let (set, wish) = (set.clone(), wish(task, preferred));
        async move { names(&set, &wish).await }
    };
    assert_eq!(of(Task::Chat, &[]).await, ["a", "c", "offline"]);
    assert_eq!(
        of(Task::Classify, &[]).await,
        ["b/small", "b", "a", "offline"]
    );
    assert_eq!(of(Task::Embed, &[]).await, ["a", "c", "offline"]);
    assert_eq!(
        of(Task::Chat, &["c/large/new", "gone", "b", "a"]).await,
        ["c/large/new", "b", "a", "c", "offline"]
    );
    let exact = |name: &str| Wish {
        exact: Some(name.to_owned()),
        ..wish(Task::Chat, &["b"])
    };
    assert_eq!(names(&set, &exact("c/x")).await, ["c/x"]);
    assert_eq!(names(&set, &exact("offline")).await, ["offline"]);
    assert_eq!(names(&set, &exact("m")).await, ["a"], "by its model");
    let text = set.route(&exact("ofline")).await.err().unwrap();
    assert!(text.contains("no provider `ofline`"), "{text}");
    for name in ["", "c/", "/x", "nobody/m"] {
        assert!(set.choice(name).is_none(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_did_not_change_is_known_after_a_change() {
    let entries = || {
        vec![
            entry("a", "custom", "http://x"),
            entry("b", "custom", "http://x"),
        ]
    };
    let settings = |entries| Settings {
        entries,
        default_provider: "a".to_owned(),
        ollama_url: None,
        ..Settings::default()
    };
    let before = Providers::new(settings(entries()), &Http::new());
    for name in ["a", "a", "a", "b", "b", "b"] {
        fail(&before, name, &down()).await;
    }
    let mut changed = entries();
    changed[1]
        .settings
        .insert("api_key".to_owned(), json!("new"));
    let after = Providers::after(Some(&before), settings(changed), &Http::new());
    assert!(after.choice("a").unwrap().blocked().is_some());
    assert!(after.choice("b").unwrap().blocked().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_section_limits_its_calls_side_by_side() {
    let mut limited = entry("a", "custom", "http://x");
    limited
        .settings
        .insert("max_concurrent".to_owned(), json!(2));
    let set = set("a", &[], vec![limited]);
    let choice = set.choice("a").unwrap();
    let session = SessionId::new();
    let first = choice.enter(session, false).await.unwrap();
    let second = choice.enter(session, false).await.unwrap();
    let third = tokio::time::timeout(Duration::from_secs(5), choice.enter(session, false)).await;
    assert!(third.is_err(), "two are under way");
    let state = &set.states()[0];
    assert_eq!(
        (state.max_concurrent, state.running, state.waiting),
        (Some(2), 2, 0)
    );
    first.answered();
    let third = choice.enter(session, false).await.unwrap();
    drop((second, third));
    assert_eq!(set.states()[0].running, 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_nobody_else_waits_for_the_call_that_finds_out() {
    let set = of("a", &[], vec![("a", well())]);
    let choice = set.choice("a").unwrap();
    for _ in 0..3 {
        fail(&set, "a", &down()).await;
    }
    let session = SessionId::new();
    let probe = choice.enter(session, true).await.unwrap();
    let other = choice.clone();
    let (entered, ()) = tokio::join!(other.enter(session, true), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        probe.answered();
    });
    assert!(entered.is_ok());
}

#[test]
fn what_a_model_costs_says_nothing_of_another_of_its_provider() {
    let mut paid = entry("a", "custom", "http://x");
    let price = json!({ "input_per_mtok": "3", "output_per_mtok": "3" });
    paid.settings.insert("price".to_owned(), price);
    let set = set("a", &[], vec![paid, entry("b", "ollama", "http://x")]);
    let about = |name: &str| set.choice(name).unwrap().about();
    assert!(about("a").price.is_some());
    let other = about("a/other");
    assert_eq!((other.price, other.model.as_str()), (None, "other"));
    assert_eq!(about("b/other").price, Some(Price::FREE));
}

#[tokio::test]
async fn a_broken_section_is_shown_and_stops_nobody() {
    let set = set(
        "auto",
        &[],
        vec![
            entry("a", "opnai", "http://127.0.0.1:1"),
            entry("b", "custom", "nonsense"),
            entry("c", "custom", "http://127.0.0.1:1/secret"),
        ],
    );
    let states = set.states();
    let words: Vec<_> = states
        .iter()
        .map(|s| (s.name.as_str(), s.condition.word()))
        .collect();
    assert_eq!(
        words,
        [
            ("c", "unknown"),
            ("a", "misconfigured"),
            ("b", "misconfigured"),
            ("offline", "ready")
        ]
    );
    assert!(
        matches!(&states[1].condition, Condition::Misconfigured(why) if why.contains("openrouter"))
    );
    let states = set.check().await;
    assert!(matches!(&states[0].condition, Condition::Failing(why) if why.contains("refused")));
    assert!(set.choice("c").is_some() && set.choice("a").is_none());
}

#[tokio::test]
async fn an_ollama_on_this_machine_is_found() {
    let tags = json!({ "models": [{ "name": "qwen:7b" }] });
    let fake = Fake::start(vec![Reply::json(200, &tags), Reply::json(404, &json!({}))]).await;
    let found = |url: &str| {
        let settings = Settings {
            ollama_url: Some(url.to_owned()),
            ..Settings::default()
        };
        Providers::new(settings, &Http::new())
    };
    let set = found(&fake.url);
    assert_eq!(set.states().len(), 1);
    assert_eq!(picked(&set).await, "ollama");
    assert_eq!(set.states()[0].model, "qwen:7b");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let set = found(&nobody);
    assert_eq!(picked(&set).await, "offline");
    assert_eq!(set.states().len(), 1);
}

#[test]
fn prices_of_the_configuration_go_first() {
    let price = |dollars: i64| Price {
        input_per_mtok: crate::types::money::Usd(dollars),
        ..Price::FREE
    };
    let settings = Settings {
        prices: BTreeMap::from([("m".to_owned(), price(5))]),
        ..Settings::default()
    };
    let set = Providers::new(settings, &Http::new());
    let mut about = set.offline().about();
    about.model = "m".to_owned();
    assert_eq!(set.price(&about), Some(price(5)));
    about.model = "other".to_owned();
    assert_eq!(set.price(&about), Some(Price::FREE));
    about.price = None;
    assert_eq!(set.price(&about), None);
    about.price = Some(price(7));
    assert_eq!(set.price(&about), Some(price(7)));
}

#[test]
fn every_kind_has_an_example_that_builds_and_a_schema() {
    for kind in super::super::KINDS {
        let yaml: serde_json::Value = serde_yaml::from_str(kind.example).unwrap();
        let settings = yaml[kind.name].as_object().cloned().unwrap();
        let schema = (kind.schema)();
        for key in settings.keys() {
            assert!(
                schema["properties"].get(key).is_some(),
                "{}.{key}",
                kind.name
            );
        }
        let mut settings = settings;
        settings
            .entry("base_url")
            .and_modify(|url| *url = json!("http://127.0.0.1:1"));
        let entry = Entry {
            name: kind.name.to_owned(),
            kind: kind.name.to_owned(),
            settings,
        };
        let about = (kind.build)(&entry, &Http::new()).unwrap().about();
        assert_eq!(about.name, kind.name);
    }
}
