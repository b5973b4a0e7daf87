//! `nexflow skill test`: runs the cases in `tests/*.json`, each in a workspace of its own and in
//! the same sandbox as any run. It runs nothing that no person has allowed.

pub(super) mod case;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::validate;
use crate::{
    cli::{
        Setup, ask,
        client::{self, path},
        out::{self, Level, Style, cell, clean, field, line},
        trouble::Trouble,
    },
    config::Config,
    sandbox::Sandbox,
    skills::{
        self, Skill, State,
        catalog::Catalog,
        run::{Abilities, RunContext, Runner},
    },
    types::Clock,
};
use case::Case;

/// Runs all cases; fails if one does.
pub(super) async fn run(setup: &Setup, place: &Path, yes: bool, json: bool) -> Result<()> {
    let config = setup.load()?.config;
    let catalog = validate::catalog(place, (&config.skills, &config.path))?;
    let Some(skill) = catalog.snapshot().first().cloned() else {
        return Ok(());
    };
    let cases = case::all(&skill.dir)?;
    if cases.is_empty() {
        let what = format!("{} has no cases in tests/*.json", skill.dir.display());
        let hint = "`nexflow skill test --help` shows the format";
        return Err(Trouble::new(what).hint(hint).into());
    }
    let skill = allowed(setup, (&catalog, skill), yes).await?;
    not_stopped(setup).await?;
    let bench = Bench::new(&config, &skill)?;
    let mut results = Vec::new();
    let mut failed = 0;
    for case in &cases {
        let wrong = bench.run(&skill, case).await?;
        failed += usize::from(wrong.is_some());
        if !json {
            show(setup.style, case, wrong.as_deref())?;
        }
        results.push(json!({ "name": case.name, "ok": wrong.is_none(), "wrong": wrong }));
    }
    if json {
        out::json(&json!({ "skill": skill.name, "ok": failed == 0, "cases": results }))?;
    }
    if failed > 0 {
        let what = format!("{failed} of {} cases of {} failed", cases.len(), skill.name);
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

/// The skill as one that may run: it came with the program, is trusted as it is, or the person says
/// so now, for these runs alone.
async fn allowed(
    setup: &Setup,
    (catalog, skill): (&Catalog, Arc<Skill>),
    yes: bool,
) -> Result<Arc<Skill>> {
    match skill.state {
        State::Trusted => return Ok(skill),
        State::Broken => return Err(Trouble::new(&skill.reason).into()),
        _ => {}
    }
    if !yes && !trusted(setup, &skill).await? {
        let asks = cell(skill.describe().get("permissions"));
        let asks = if asks.is_empty() {
            "nothing".to_owned()
        } else {
            asks
        };
        out::aside(&format!(
            "{} is not trusted as it is. It asks for: {}\n",
            skill.name,
            clean(&asks)
        ));
        if !ask::watched() || !ask::yes("Run its tests with that?")? {
            let hint = "read its files, then add --yes, or trust it with `nexflow skill trust`";
            return Err(Trouble::new("its tests were not run").hint(hint).into());
        }
    }
    let now = Clock::system().now();
    let record = catalog.decide(&skill.name, (Some(true), Some(true)), ("test", now));
    catalog.set_records(vec![record.map_err(Trouble::new)?]);
    let skill = catalog
        .get(&skill.name)
        .filter(|s| s.state == State::Trusted || s.state == State::Unavailable);
    match skill {
        Some(skill) if skill.state == State::Trusted => Ok(skill),
        Some(skill) => Err(Trouble::new(&skill.reason).into()),
        None => Err(Trouble::new("the skill changed meanwhile").into()),
    }
}

/// The emergency stop is for these runs as well.
async fn not_stopped(setup: &Setup) -> Result<()> {
    let status = client::with(setup, async |client| client.get("/api/v1/status").await).await?;
    let stopped = status.pointer("/skills/stopped").filter(|s| !s.is_null());
    match stopped {
        None => Ok(()),
        Some(stopped) => {
            let what = format!("{} stopped all skills", clean(field(stopped, "by")));
            let hint = "`nexflow skill start --all` lets them run again";
            Err(Trouble::new(what).hint(hint).into())
        }
    }
}

/// Whether the catalogue that is in use trusts exactly this.
async fn trusted(setup: &Setup, skill: &Skill) -> Result<bool> {
    let path = path(&["skills", &skill.name], &[])?;
    let known = client::with(setup, async |client| {
        // That there is none of this name there is an answer too.
        Ok(client.get(&path).await.unwrap_or_default())
    });
    let known = known.await?;
    Ok(field(&known, "state") == "trusted" && field(&known, "hash") == skill.hash)
}

/// Where cases run.
struct Bench {
    runner: Runner,
    workspaces: PathBuf,
}

impl Bench {
    fn new(config: &Config, skill: &Skill) -> Result<Self> {
        // Also where there is no skills directory yet.
        let directory = skill.dir.clone();
        let skills = skills::Config {
            directory,
            ..config.skills.clone()
        };
        let sandbox = Sandbox::new(skills.sandbox());
        private_folder(&config.data_dir)?;
        let workspaces = config.data_dir.join("workspaces");
        private_folder(&workspaces)?;
        Ok(Self {
            runner: Runner::new(sandbox, &skills, config.data_dir.clone()),
            workspaces,
        })
    }

    /// Runs a case; what was wrong, if anything.
    async fn run(&self, skill: &Skill, case: &Case) -> Result<Option<String>> {
        let workspace = self
            .workspaces
            .join(format!("test-{}", uuid::Uuid::now_v7()));
        private_folder(&workspace)?;
        let done = self.run_in(&workspace, skill, case).await;
        std::fs::remove_dir_all(&workspace)
            .with_context(|| format!("cannot remove {}", workspace.display()))?;
        done
    }

    async fn run_in(&self, place: &Path, skill: &Skill, case: &Case) -> Result<Option<String>> {
        case.prepare(place)?;
        let context = RunContext {
            workspace: place.to_owned(),
            abilities: Some(Arc::new(Answers(case.abilities.clone()))),
            live: None,
        };
        let cancel = CancellationToken::new();
        let run = self.runner.run(skill, case.input.clone(), context, &cancel);
        Ok(case.wrong(&Box::pin(run).await))
    }
}

fn private_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// What the daemon would do, as the case says.
struct Answers(BTreeMap<String, Value>);

#[async_trait]
impl Abilities for Answers {
    async fn call(&self, method: &str, _params: Value) -> Result<Value, String> {
        match self.0.get(method) {
            None => Err(format!("this case has no answer for `{method}`")),
            Some(Value::Object(map)) if map.len() == 1 && map.contains_key("error") => {
                Err(cell(map.get("error")))
            }
            Some(answer) => Ok(answer.clone()),
        }
    }
}
