//! The cases of a skill: how they are written, and whether a run was what they expect.

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Component, Path},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    cli::trouble::Trouble,
    skills::run::{RunResult, Status},
};

/// What a file of cases looks like.
pub(in crate::cli::skill) const FORMAT: &str = r#"A file in tests/ ending in .json holds a list of cases:
  [{"name": "words are counted",
    "input": {"text": "two words"},
    "files": {"note.txt": "put into the workspace first"},
    "abilities": {"schedule.list": {"schedules": []}},    what the daemon answers
    "expect": {"status": "ok",                            ok (if not given), failed or refused
               "output": {"words": 2},                    what the output has, at least
               "output_contains": "words"}}]              text in the output, written as JSON"#;

/// One case. An unknown key is a mistake: it would be a check that never happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli::skill) struct Case {
    pub(super) name: String,
    #[serde(default = "empty")]
    pub(super) input: Value,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) abilities: BTreeMap<String, Value>,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    status: Wanted,
    output: Option<Value>,
    output_contains: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    #[default]
    Ok,
    Failed,
    Refused,
}

fn empty() -> Value {
    serde_json::json!({})
}

/// The cases of a skill, by file name.
pub(in crate::cli::skill) fn all(folder: &Path) -> Result<Vec<Case>> {
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
            .with_context(|| format!("tests/{name} cannot be read"))?;
        let cases: Vec<Case> = serde_json::from_str(&text)
            .with_context(|| format!("tests/{name} is not a list of cases"))?;
        all.extend(cases);
    }
    Ok(all)
}

impl Case {
    /// Puts the files of the case into a workspace, writable for the skill's own user.
    pub(super) fn prepare(&self, workspace: &Path) -> Result<()> {
        std::fs::set_permissions(workspace, Permissions::from_mode(0o777))
            .with_context(|| format!("cannot open {}", workspace.display()))?;
        for (name, content) in &self.files {
            let inside = Path::new(name)
                .components()
                .all(|c| matches!(c, Component::Normal(_)));
            if !inside {
                let what = format!("the case `{}` puts a file outside: {name}", self.name);
                return Err(Trouble::new(what).into());
            }
            let file = workspace.join(name);
            let failed = || format!("cannot write {}", file.display());
            for folder in file.parent().into_iter().flat_map(Path::ancestors) {
                if folder == workspace {
                    break;
                }
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o777)
                    .create(folder)
                    .with_context(failed)?;
                std::fs::set_permissions(folder, Permissions::from_mode(0o777))
                    .with_context(failed)?;
            }
            std::fs::write(&file, content).with_context(failed)?;
            std::fs::set_permissions(&file, Permissions::from_mode(0o666)).with_context(failed)?;
        }
        Ok(())
    }

    /// What was not as expected, if anything.
    pub(super) fn wrong(&self, result: &RunResult) -> Option<String> {
        let expect = &self.expect;
        let error = result.error.as_deref().unwrap_or_default();
        let as_wanted = matches!(
            (expect.status, result.status),
            (Wanted::Ok, Status::Ok)
                | (Wanted::Failed, Status::Failed)
                | (Wanted::Refused, Status::Refused)
        );
        let found = &result.output;
        if !as_wanted {
            let (status, wanted) = (result.status, expect.status);
            let text = format!("it ended as {status:?}, not {wanted:?}").to_lowercase();
            return Some(format!("{text}: {error} {found}"));
        }
        let lacking = expect
            .output
            .as_ref()
            .filter(|wanted| !contains(found, wanted));
        if let Some(wanted) = lacking {
            return Some(format!("the output is {found}, which lacks {wanted}"));
        }
        let text = expect.output_contains.as_deref()?;
        // What was never started has no output, only a reason.
        let there = found.to_string().contains(text) || error.contains(text);
        (!there).then(|| format!("the output is {found}, without the text `{text}`"))
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn case(expect: &Value) -> Case {
        serde_json::from_value(json!({ "name": "a", "expect": expect })).unwrap()
    }

    fn result(status: Status, output: Value, error: Option<&str>) -> RunResult {
        let error = error.map(str::to_owned);
        RunResult {
            status,
            output,
            error,
            mode: None,
            duration: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn a_case_names_what_must_be_there_at_least() {
        let wanted = case(&json!({ "output": { "a": { "b": 1 } }, "output_contains": "\"d\":3" }));
        let ok = |output| wanted.wrong(&result(Status::Ok, output, None));
        assert_eq!(ok(json!({ "a": { "b": 1.0, "c": 2 }, "d": 3 })), None);
        assert!(ok(json!({ "a": {} })).unwrap().contains("lacks"));
        assert!(
            ok(json!({ "a": { "b": 1 } }))
                .unwrap()
                .contains("without the text")
        );
    }

    #[test]
    fn how_a_run_ends_is_part_of_a_case() {
        let failed = result(Status::Failed, Value::Null, Some("no disk"));
        assert!(
            case(&json!({}))
                .wrong(&failed)
                .unwrap()
                .starts_with("it ended as failed, not ok")
        );
        assert_eq!(
            case(&json!({ "status": "failed", "output_contains": "disk" })).wrong(&failed),
            None
        );
        assert!(
            case(&json!({ "status": "refused" }))
                .wrong(&failed)
                .is_some()
        );
    }

    #[test]
    fn a_check_that_would_never_happen_is_a_mistake() {
        let odd = [
            json!({ "name": "a", "expect": { "outputs": {} } }),
            json!({ "name": "a", "output": {}, "expect": {} }),
            json!({ "name": "a" }),
        ];
        for odd in odd {
            assert!(
                serde_json::from_value::<Case>(odd.clone()).is_err(),
                "{odd}"
            );
        }
    }

    #[test]
    fn lists_are_whole() {
        assert!(contains(
            &json!([1, { "a": 1, "b": 2 }]),
            &json!([1, { "a": 1 }])
        ));
        assert!(!contains(&json!([1, 2]), &json!([1])));
    }

    #[test]
    fn files_stay_in_the_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let with = |name: &str| -> Case {
            serde_json::from_value(json!({ "name": "a", "files": { name: "x" }, "expect": {} }))
                .unwrap()
        };
        with("deep/er/a.txt").prepare(folder.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(folder.path().join("deep/er/a.txt")).unwrap(),
            "x"
        );
        assert!(with("../out").prepare(folder.path()).is_err());
        assert!(with("/tmp/out").prepare(folder.path()).is_err());
    }
}
