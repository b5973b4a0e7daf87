//! The skills that we ship do what their own cases say.

use std::{collections::BTreeMap, fs, sync::Arc, time::Instant};

use async_trait::async_trait;
use nexflow::skills::{
    Skill, State,
    catalog::Catalog,
    run::{Abilities, RunContext, RunResult, Status},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{House, PATH};

#[derive(Deserialize)]
struct Case {
    name: String,
    input: Value,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    abilities: BTreeMap<String, Value>,
    expect: Expect,
}

#[derive(Deserialize)]
struct Expect {
    status: String,
    output: Option<Value>,
    output_contains: Option<String>,
}

/// Answers as a case says.
struct Canned(BTreeMap<String, Value>);

#[async_trait]
impl Abilities for Canned {
    async fn call(&self, method: &str, _params: Value) -> Result<Value, String> {
        let answer = self
            .0
            .get(method)
            .cloned()
            .ok_or_else(|| format!("{method} was called"))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}

/// A house whose skills are the shipped ones.
fn house() -> (House, Catalog) {
    let house = House::new();
    fs::remove_dir(&house.config.directory).unwrap();
    let catalog = Catalog::new(&house.config, PATH);
    catalog.load();
    (house, catalog)
}

#[test]
fn they_are_unpacked_trusted_and_read_in_no_time() {
    let (_house, catalog) = house();
    let names: Vec<String> = catalog.snapshot().iter().map(|s| s.name.clone()).collect();
    assert_eq!(
        names,
        [
            "file-read",
            "file-write",
            "git-basic",
            "http-request",
            "reminder",
            "shell-run"
        ]
    );
    for skill in catalog.snapshot().iter() {
        assert_eq!(
            skill.state,
            State::Trusted,
            "{}: {}",
            skill.name,
            skill.reason
        );
        assert!(
            skill.warnings.is_empty(),
            "{}: {:?}",
            skill.name,
            skill.warnings
        );
    }
    let quickest = (0..5).map(|_| {
        let began = Instant::now();
        catalog.load();
        began.elapsed()
    });
    let quickest = quickest.min().unwrap();
    // Nothing is optimised in a debug build.
    let limit = if cfg!(debug_assertions) { 100 } else { 10 };
    assert!(quickest.as_millis() < limit, "{quickest:?}");
}

/// Whether everything that is wanted is there.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| found.get(key).is_some_and(|f| contains(f, wanted))),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| contains(f, w))
        }
        _ => found == wanted,
    }
}

async fn run(skill: &Skill, case: &Case) -> RunResult {
    let house = House::new();
    let context = RunContext {
        abilities: Some(Arc::new(Canned(case.abilities.clone()))),
        ..house.context()
    };
    for (path, text) in &case.files {
        let path = house.workspace().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    house.give_workspace();
    house
        .runner()
        .run(
            skill,
            case.input.clone(),
            context,
            &CancellationToken::new(),
        )
        .await
}

fn wrong(case: &Case, done: &RunResult) -> bool {
    let status = match done.status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::Refused => "refused",
        Status::Cancelled => "cancelled",
    };
    let shown = format!("{} {}", done.output, done.error.clone().unwrap_or_default());
    let texts = |value: &Value| value.to_string().trim_matches('"').to_owned();
    status != case.expect.status
        || case
            .expect
            .output
            .as_ref()
            .is_some_and(|wanted| !contains(&done.output, wanted))
        || case.expect.output_contains.as_ref().is_some_and(|text| {
            !shown.contains(text.as_str()) && !shown.contains(&texts(&json!(text)))
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn they_do_what_their_cases_say() {
    let (_house, catalog) = house();
    let mut failed = Vec::new();
    for skill in catalog.snapshot().iter() {
        let text = fs::read_to_string(skill.dir.join("tests/basic.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
        assert!(!cases.is_empty(), "{} has no cases", skill.name);
        for case in cases {
            let done = run(skill, &case).await;
            if wrong(&case, &done) {
                failed.push(format!("{}: {}: {done:?}", skill.name, case.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
