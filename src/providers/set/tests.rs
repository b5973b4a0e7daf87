use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::providers::{
    Answer, Request,
    contract::{Fake, Reply},
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
        slot.provider = Arc::new(Scripted {
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

    fn about_model(&self, _: &str) -> About {
        self.about()
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
    set.pick().await.about().name
}

async fn chain(set: &Providers) -> Vec<String> {
    let chain = set.chain().await;
    chain.iter().map(|provider| provider.about().name).collect()
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
    set.failed("a", &down());
    assert_eq!(picked(&set).await, "b");
    assert_eq!(chain(&set).await, ["b", "offline"]);
    tokio::time::advance(BAD).await;
    assert_eq!(picked(&set).await, "a");

    let slow_down = ProviderError::RateLimited {
        provider: "a".to_owned(),
        after: Some(Duration::from_secs(90)),
        detail: String::new(),
    };
    set.failed("a", &slow_down);
    tokio::time::advance(Duration::from_secs(80)).await;
    assert_eq!(picked(&set).await, "b");
    set.answered("a");
    assert_eq!(picked(&set).await, "a");
}

#[tokio::test(start_paused = true)]
async fn a_named_default_is_not_checked_and_has_its_fallback() {
    let first = ill();
    let checks = first.checks.clone();
    let three = vec![("a", first), ("b", well()), ("c", well())];
    let set = of("a", &["c", "nobody"], three);
    assert_eq!(chain(&set).await, ["a", "c", "offline"]);
    set.failed("a", &down());
    assert_eq!(chain(&set).await, ["c", "a", "offline"]);
    set.failed("c", &down());
    assert_eq!(chain(&set).await, ["a", "c", "offline"]);
    let four = of(
        "a",
        &["b", "c"],
        vec![("a", well()), ("b", well()), ("c", well())],
    );
    four.failed("b", &down());
    assert_eq!(chain(&four).await, ["a", "c", "b", "offline"]);
    assert_eq!(checks.load(Ordering::Relaxed), 0);
    assert_eq!(set.unknown_names(), ["nobody"]);
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
    assert!(set.get("c").is_some() && set.get("a").is_none() && set.get("offline").is_some());
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
    assert_eq!(set.price(&about, "m"), Some(price(5)));
    assert_eq!(set.price(&about, "other"), Some(Price::FREE));
    about.price = None;
    assert_eq!(set.price(&about, "other"), None);
    about.price = Some(price(7));
    about.model = "mine".to_owned();
    assert_eq!(set.price(&about, "mine"), Some(price(7)));
    assert_eq!(set.price(&about, "other"), None);
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
