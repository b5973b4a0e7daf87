//! The skills of other agents, trusted and tried: each of their scripts runs confined, or says what
//! it lacks.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use nexflow::skills::{
    State,
    needs::Need,
    run::{RunResult, Status},
};
use tokio_util::sync::CancellationToken;

use super::House;
use crate::support::copy_tree;

/// Every folder with a SKILL.md that is in no other such folder.
fn folders(dir: &Path) -> Vec<PathBuf> {
    if dir.join("SKILL.md").is_file() {
        return vec![dir.to_owned()];
    }
    let mut below: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    below.sort();
    below.iter().flat_map(|p| folders(p)).collect()
}

/// What became of one script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    /// It did what `--help` asks for.
    Ran,
    /// It ran, and ended with a word of its own: usage, or that it has no `--help`.
    Answered,
    /// It, or the daemon, named what it lacks.
    Lacks,
    /// Neither.
    Neither,
}

fn came(done: &RunResult) -> Came {
    let error = done.error.as_deref().unwrap_or_default();
    let said = done.output.to_string();
    match done.status {
        Status::Ok => Came::Ran,
        _ if error.contains("It lacks: ") || error.contains("needs what is not here: ") => {
            Came::Lacks
        }
        Status::Failed
            if error.starts_with("the skill ended with exit code")
                && !said.contains("Traceback") =>
        {
            Came::Answered
        }
        _ => Came::Neither,
    }
}

fn is_script(file: &str) -> bool {
    let ends = [".sh", ".bash", ".py", ".js", ".mjs", ".cjs"];
    ends.iter().any(|end| file.ends_with(end))
}

#[derive(Default)]
struct Counts {
    skills: usize,
    usable: usize,
    other: BTreeMap<&'static str, usize>,
    need: usize,
    unmet: usize,
    scripts: BTreeMap<Came, usize>,
    lacks: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_script_of_other_agents_runs_or_says_what_it_lacks() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/corpora");
    let mut wrong = Vec::new();
    for name in ["openclaw", "hermes-agent", "nanobot-ai"] {
        let from = corpora.join(name);
        assert!(
            from.is_dir(),
            "tests/tools/corpora/{name} is missing: run `make test`, it fetches them"
        );
        let counts = try_all(&from, &mut wrong).await;
        println!(
            "{name}: {} skills, {} usable, others {:?}; {} say what they need, {} need what is not here; scripts: {:?}",
            counts.skills, counts.usable, counts.other, counts.need, counts.unmet, counts.scripts
        );
        for line in &counts.lacks {
            println!("  {line}");
        }
        assert!(
            counts.usable * 10 >= counts.skills * 9,
            "{name}: {:?}",
            counts.other
        );
    }
    assert!(
        wrong.is_empty(),
        "{} scripts:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

async fn try_all(from: &Path, wrong: &mut Vec<String>) -> Counts {
    let mut house = House::new();
    for (number, dir) in folders(from).iter().enumerate() {
        let to = house.config.directory.join(number.to_string());
        copy_tree(dir, &to.join(dir.file_name().unwrap()));
    }
    house.config.timeout_sec = 60;
    let (catalog, runner, mut counts) = (house.trusted_all(), house.runner(), Counts::default());
    for skill in catalog.snapshot().iter() {
        counts.skills += 1;
        counts.need += usize::from(!skill.needs.is_empty());
        let lacking: Vec<String> = skill.needs.iter().filter_map(Need::lacking).collect();
        counts.unmet += usize::from(!lacking.is_empty());
        if skill.state != State::Trusted {
            assert!(!skill.reason.is_empty(), "{} does not say why", skill.name);
            *counts.other.entry(skill.state.as_str()).or_default() += 1;
            continue;
        }
        counts.usable += 1;
        for file in skill.files().iter().filter(|f| is_script(f)) {
            let script = match catalog.script(skill, file) {
                Ok(script) => script,
                Err(why) => {
                    wrong.push(format!("{}: {file}: {why}", skill.name));
                    continue;
                }
            };
            let given = (vec!["--help".to_owned()], String::new());
            let done = runner
                .run_script(&script, given, house.context(), &CancellationToken::new())
                .await;
            let came = came(&done);
            *counts.scripts.entry(came).or_default() += 1;
            if came == Came::Lacks {
                let error = done.error.clone().unwrap_or_default();
                let lacks = error.rsplit('\n').next().unwrap_or_default();
                counts
                    .lacks
                    .push(format!("{}: {file}: {lacks}", skill.name));
            }
            if came == Came::Neither {
                let shown: String = format!("{done:?}").chars().take(700).collect();
                wrong.push(format!("{}: {file}: {shown}", skill.name));
            }
        }
    }
    counts
}
