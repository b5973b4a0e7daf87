//! `nexflow skill test`: the cases in `tests/*.json`, through the same API and sandbox as any run.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::validate;
use crate::cli::{
    Setup,
    client::{Client, path},
    out::{self, Level, Style, clean, field, line},
    trouble::Trouble,
};

/// What a file of cases looks like.
pub(super) const FORMAT: &str = "\
A file in tests/ holds one case or a list of cases:
  {\"name\": \"words are counted\",
   \"input\": {\"text\": \"two words\"},
   \"status\": \"ok\",                 how the run ends: ok (if not given) or failed
   \"output\": {\"words\": 2}}         what the output must contain, at least";

/// One case.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    #[serde(default)]
    name: String,
    #[serde(default = "empty")]
    input: Value,
    #[serde(default = "ok")]
    status: String,
    output: Option<Value>,
}

fn empty() -> Value {
    json!({})
}

fn ok() -> String {
    "ok".to_owned()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Many(Vec<Case>),
    One(Case),
}

/// Runs all cases; fails if one does.
pub(super) async fn run(setup: &Setup, client: &Client, place: &Path, json: bool) -> Result<()> {
    let config = setup.load()?.config;
    let found = validate::skills(place, (&config.skills, &config.path))?;
    let Some(skill) = found.first() else {
        return Ok(());
    };
    let (name, folder) = (skill.name.as_str(), skill.dir.as_path());
    let cases = cases(folder)?;
    if cases.is_empty() {
        let what = format!("{} has no cases in tests/*.json", folder.display());
        return Err(Trouble::new(what)
            .hint("`nexflow skill test --help` shows the format")
            .into());
    }
    client
        .get(&path(&["skills", name], &[])?)
        .await
        .with_context(|| {
            let home = config.skills.directory.display();
            format!("{} can be tested when it lies in {home}", folder.display())
        })?;
    let mut results = Vec::new();
    for case in &cases {
        let wrong = one(client, name, case).await?;
        if !json {
            show(setup.style, case, wrong.as_deref())?;
        }
        results.push(json!({ "name": case.name, "ok": wrong.is_none(), "wrong": wrong }));
    }
    let failed = results
        .iter()
        .filter(|r| r.get("ok") == Some(&json!(false)))
        .count();
    if json {
        out::json(&json!({ "skill": name, "ok": failed == 0, "cases": results }))?;
    }
    if failed > 0 {
        let what = format!("{failed} of {} cases of {name} failed", cases.len());
        return Err(Trouble::new(what).into());
    }
    Ok(())
}

fn show(style: Style, case: &Case, wrong: Option<&str>) -> Result<()> {
    let level = if wrong.is_none() {
        Level::Good
    } else {
        Level::Bad
    };
    line(&format!(
        "{} {}",
        style.mark(level, level.sign()),
        clean(&case.name)
    ))?;
    wrong.map_or(Ok(()), |wrong| line(&format!("    {}", clean(wrong))))
}

/// Runs a case; what was wrong, if anything.
async fn one(client: &Client, name: &str, case: &Case) -> Result<Option<String>> {
    let answer = client
        .post(
            &path(&["skills", name], &[])?,
            &json!({ "input": case.input }),
        )
        .await;
    let answer = match answer {
        Ok(answer) => answer,
        // Input that the skill does not take is how a case of a refusal ends.
        Err(error) if error.is::<Trouble>() => {
            return Ok((case.status == "ok").then(|| format!("{error:#}")));
        }
        Err(error) => return Err(error),
    };
    Ok(wrong(case, &answer))
}

fn wrong(case: &Case, answer: &Value) -> Option<String> {
    let status = field(answer, "status");
    if status != case.status {
        let error = field(answer, "error");
        return Some(format!(
            "it ended as {status}, not {}: {error}",
            case.status
        ));
    }
    let wanted = case.output.as_ref()?;
    let found = answer.get("output").unwrap_or(&Value::Null);
    (!contains(found, wanted)).then(|| format!("the output is {found}, which lacks {wanted}"))
}

/// Whether everything that is wanted is there; objects may have more.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| found.get(key).is_some_and(|found| contains(found, wanted))),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| contains(f, w))
        }
        (Value::Number(found), Value::Number(wanted)) => found.as_f64() == wanted.as_f64(),
        (found, wanted) => found == wanted,
    }
}

/// The cases of a skill, by file name.
pub(super) fn cases(folder: &Path) -> Result<Vec<Case>> {
    let Ok(files) = std::fs::read_dir(folder.join("tests")) else {
        return Ok(Vec::new());
    };
    let mut files: Vec<_> = files.filter_map(|f| f.ok().map(|f| f.path())).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort_unstable();
    let mut all = Vec::new();
    for file in files {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        let found: File = serde_json::from_str(&text)
            .with_context(|| format!("tests/{name} is not a case or a list of cases"))?;
        let mut found = match found {
            File::Many(many) => many,
            File::One(one) => vec![one],
        };
        for case in found.iter_mut().filter(|case| case.name.is_empty()) {
            case.name.clone_from(&name);
        }
        all.append(&mut found);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(value: Value) -> Case {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_case_names_what_must_be_there_at_least() {
        let wanted = case(json!({ "output": { "a": { "b": 1 } } }));
        let answer = |output: Value| json!({ "status": "ok", "output": output });
        assert_eq!(
            wrong(
                &wanted,
                &answer(json!({ "a": { "b": 1.0, "c": 2 }, "d": 3 }))
            ),
            None
        );
        assert!(
            wrong(&wanted, &answer(json!({ "a": {} })))
                .unwrap()
                .contains("lacks")
        );
        let failed = json!({ "status": "failed", "error": "no disk" });
        assert_eq!(
            wrong(&wanted, &failed).unwrap(),
            "it ended as failed, not ok: no disk"
        );
        assert_eq!(wrong(&case(json!({ "status": "failed" })), &failed), None);
    }

    #[test]
    fn lists_are_whole() {
        assert!(contains(
            &json!([1, { "a": 1, "b": 2 }]),
            &json!([1, { "a": 1 }])
        ));
        assert!(!contains(&json!([1, 2]), &json!([1])));
    }
}
