//! What confinement costs, and whether anything of a run stays behind.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::join_all, stream};
use tokio_util::sync::CancellationToken;

use super::{line, rig, row};
use crate::sandbox::{Config, End, Job, Mode, Mount, Sandbox, interpreter_mounts};

/// Runs of each program in each mode.
const RUNS: usize = 100;
/// Runs side by side.
const AT_ONCE: usize = 64;
/// Runs after which nothing may be left.
const MANY: usize = 10_000;

/// Programs that do nothing: name, and where they are looked for.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("true", &[]),
    ("bash", &["-c", ":"]),
    ("python3", &["-c", "pass"]),
    ("node", &["-e", "0"]),
];

/// Added time per program and mode, then many at once.
pub(super) async fn all() -> anyhow::Result<()> {
    for mode in [Mode::Full, Mode::Degraded] {
        let sandbox = forced(mode);
        if sandbox.report().await.mode != mode {
            line(mode.as_str(), "not possible here", "");
            continue;
        }
        let aim = if mode == Mode::Full {
            "p50 < 3.0 ms"
        } else {
            "p50 < 2.2 ms"
        };
        for (name, args) in PROGRAMS {
            if let Some(program) = find(name) {
                added(&sandbox, (name, &program, args), (mode, aim)).await?;
            }
        }
        at_once(&sandbox, mode).await?;
    }
    Ok(())
}

fn forced(mode: Mode) -> Sandbox {
    Sandbox::new(Config {
        force: Some(mode),
        ..Config::default()
    })
}

/// The system's program, without links in its path, as a sandbox wants it.
fn find(name: &str) -> Option<PathBuf> {
    ["/usr/local/bin", "/usr/bin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|p| p.is_file())?
        .canonicalize()
        .ok()
}

fn job(program: &Path, args: &[&str]) -> Job {
    let own = [program.display().to_string()];
    let mounts = interpreter_mounts(program).into_iter().map(Mount::read);
    Job {
        mounts: mounts.collect(),
        ..Job::new(own.into_iter().chain(args.iter().map(|a| (*a).to_owned())))
    }
}

async fn added(
    sandbox: &Sandbox,
    (name, program, args): (&str, &Path, &[&str]),
    (mode, aim): (Mode, &str),
) -> anyhow::Result<()> {
    let (mut bare, mut extra) = (Vec::new(), Vec::new());
    for n in 0..RUNS + 5 {
        let began = Instant::now();
        rig::bare(program, args).await?;
        let alone = began.elapsed();
        let began = Instant::now();
        let outcome = sandbox
            .run(job(program, args), &CancellationToken::new())
            .await?;
        let confined = began.elapsed();
        anyhow::ensure!(
            outcome.end == End::Exited(0),
            "{name} ended with {:?}: {}",
            outcome.end,
            String::from_utf8_lossy(&outcome.stderr.bytes)
        );
        if n >= 5 {
            bare.push(alone);
            extra.push(confined);
        }
    }
    bare.sort_unstable();
    let usual = bare.get(bare.len() / 2).copied().unwrap_or_default();
    let extra: Vec<Duration> = extra.iter().map(|e| e.saturating_sub(usual)).collect();
    row(&format!("`{name}`, bare"), &bare, "");
    row(
        &format!("`{name}`, added by the sandbox ({})", mode.as_str()),
        &extra,
        aim,
    );
    Ok(())
}

async fn at_once(sandbox: &Sandbox, mode: Mode) -> anyhow::Result<()> {
    let Some(program) = find("true") else {
        return Ok(());
    };
    let began = Instant::now();
    let never = CancellationToken::new();
    let runs = join_all((0..AT_ONCE).map(|_| sandbox.run(job(&program, &[]), &never))).await;
    let bad = runs
        .iter()
        .filter(|r| !r.as_ref().is_ok_and(|o| o.end == End::Exited(0)))
        .count();
    line(
        &format!("{AT_ONCE} at once ({}), failed", mode.as_str()),
        &bad.to_string(),
        "0",
    );
    line(
        "the same, until all had ended",
        &format!("{:.0?}", began.elapsed()),
        "",
    );
    Ok(())
}

/// Many runs, four at a time, then what is there that was not there before.
pub(super) async fn leftovers() -> anyhow::Result<()> {
    let Some(program) = find("true") else {
        anyhow::bail!("there is no program `true`");
    };
    let sandbox = Sandbox::new(Config::default());
    let never = CancellationToken::new();
    // The first run leaves a launcher waiting for the next.
    sandbox.run(job(&program, &[]), &never).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = Traces::now();
    let began = Instant::now();
    let runs = stream::iter(0..MANY).map(|_| sandbox.run(job(&program, &[]), &never));
    let failed = runs
        .buffer_unordered(4)
        .filter(|run| std::future::ready(!run.as_ref().is_ok_and(|o| o.end == End::Exited(0))))
        .count()
        .await;
    let took = began.elapsed();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = Traces::now();
    line(&format!("{MANY} runs, failed"), &failed.to_string(), "0");
    line(
        "the same, time",
        &format!("{:.1} s", took.as_secs_f64()),
        "",
    );
    for (name, count) in after.beyond(&before) {
        line(&format!("left behind: {name}"), &count.to_string(), "0");
    }
    Ok(())
}

/// Everything that a run makes, by name.
struct Traces {
    all: [(&'static str, BTreeSet<String>); 5],
}

impl Traces {
    fn now() -> Self {
        let mut all = [
            ("processes", BTreeSet::new()),
            ("namespaces", BTreeSet::new()),
            ("control groups", BTreeSet::new()),
            ("mounts", BTreeSet::new()),
            ("files", BTreeSet::new()),
        ];
        let [
            (_, processes),
            (_, namespaces),
            (_, groups),
            (_, mounts),
            (_, files),
        ] = &mut all;
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains("__sandbox") {
                processes.insert(entry.file_name().to_string_lossy().into_owned());
            }
            for ns in fs::read_dir(entry.path().join("ns"))
                .into_iter()
                .flatten()
                .flatten()
            {
                if let Ok(link) = fs::read_link(ns.path()) {
                    namespaces.insert(link.display().to_string());
                }
            }
        }
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounts.extend(table.lines().map(str::to_owned));
        for root in table.lines().filter(|l| l.contains(" - cgroup")) {
            let root = root.split(' ').nth(4).unwrap_or_default();
            collect(Path::new(root), 6, groups);
        }
        collect(&std::env::temp_dir(), 1, files);
        Self { all }
    }

    /// More of each kind than before; which ones may have changed (a new launcher waits).
    fn beyond<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'static str, usize)> + 'a {
        let pairs = self.all.iter().zip(&before.all);
        pairs.map(|((name, now), (_, then))| (*name, now.len().saturating_sub(then.len())))
    }
}

fn collect(dir: &Path, depth: usize, names: &mut BTreeSet<String>) {
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("nexflow-") {
            names.insert(entry.path().display().to_string());
        }
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            collect(&entry.path(), depth - 1, names);
        }
    }
}
