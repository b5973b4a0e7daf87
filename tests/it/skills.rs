//! Skills from their folder to their result, through the real sandbox.

mod corpora;
mod scripts;
mod shipped;
mod trust;
mod wild;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use nexflow::{
    sandbox::{self, Sandbox},
    skills::{
        Config, Skill, State,
        catalog::Catalog,
        run::{Abilities, LiveOutput, RunContext, RunResult, Runner, Status},
    },
    types::{Secret, Timestamp},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const PATH: &str = env!("PATH");

/// A data directory, a skills directory, and what works on them.
struct House {
    dir: tempfile::TempDir,
    config: Config,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Programs may pass through, as in a real data directory.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let directory = dir.path().join("skills");
        fs::create_dir(&directory).unwrap();
        Self {
            config: Config {
                directory,
                ..Config::default()
            },
            dir,
        }
    }

    fn skill(&self, name: &str, keys: &str, (file, program): (&str, &str)) -> &Self {
        let dir = self.config.directory.join(name);
        fs::create_dir_all(&dir).unwrap();
        let text =
            format!("---\nname: {name}\ndescription: Test.\nlocation: ./{file}\n{keys}---\n");
        fs::write(dir.join("SKILL.md"), text).unwrap();
        fs::write(dir.join(file), program).unwrap();
        self
    }

    /// The catalog, with everything in it trusted.
    fn trusted(&self) -> Catalog {
        let catalog = Catalog::new(&self.config, PATH);
        catalog.load();
        let trust = |s: &Arc<Skill>| {
            catalog
                .decide(&s.name, (Some(true), None), ("test", Timestamp(1)))
                .unwrap()
        };
        catalog.set_records(catalog.snapshot().iter().map(trust).collect());
        catalog
    }

    /// The same, where some of it may be broken.
    fn trusted_all(&self) -> Catalog {
        let catalog = Catalog::new(&self.config, PATH);
        catalog.load();
        let trust = |s: &Arc<Skill>| {
            let wish = (Some(true), None);
            catalog.decide(&s.name, wish, ("test", Timestamp(1))).ok()
        };
        catalog.set_records(catalog.snapshot().iter().filter_map(trust).collect());
        catalog
    }

    fn runner(&self) -> Runner {
        let config = sandbox::Config {
            helper: Some(env!("CARGO_BIN_EXE_nexflow").into()),
            ..sandbox::Config::default()
        };
        Runner::new(
            Sandbox::new(config),
            &self.config,
            self.dir.path().join("data"),
        )
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().join("data/workspaces/one")
    }

    fn context(&self) -> RunContext {
        RunContext {
            workspace: self.workspace(),
            abilities: None,
            live: None,
        }
    }

    /// Files that a test puts there belong to those who run in it.
    fn give_workspace(&self) {
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        let mut folders = vec![self.workspace()];
        while let Some(dir) = folders.pop().filter(|d| d.is_dir()) {
            open(&dir, 0o777).unwrap();
            for entry in fs::read_dir(&dir).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    open(&path, 0o666).unwrap();
                }
            }
        }
    }

    async fn run(&self, name: &str, input: Value) -> RunResult {
        let skill = self.trusted().get(name).unwrap();
        assert_eq!(skill.state, State::Trusted, "{}", skill.reason);
        self.runner()
            .run(&skill, input, self.context(), &CancellationToken::new())
            .await
    }
}

fn bash(program: &str) -> (&str, &str) {
    ("run.sh", program)
}

#[tokio::test(flavor = "multi_thread")]
async fn input_and_output_are_one_object() {
    let house = House::new();
    house
        .skill("shell", "", bash("read -r line; echo \"$NEXFLOW_INPUT_MY_NAME|$line\"; echo oops >&2"))
        .skill(
            "py",
            "",
            ("run.py", "import json,sys\nd=json.load(sys.stdin)\nprint(json.dumps({'twice': d['n']*2}))\n"),
        )
        .skill(
            "js",
            "",
            ("run.mjs", "import fs from 'fs';\nconst d=JSON.parse(fs.readFileSync(0));\nconsole.log(JSON.stringify({sum:d.a+d.b}));\n"),
        );
    let done = house
        .run("shell", json!({ "my-name": "Ada", "deep": { "x": 1 } }))
        .await;
    assert_eq!(done.status, Status::Ok, "{done:?}");
    assert_eq!(
        done.output,
        json!({ "exit_code": 0, "stdout": "Ada|{\"my-name\":\"Ada\",\"deep\":{\"x\":1}}\n", "stderr": "oops\n" })
    );
    assert!(done.mode.is_some());
    let done = house.run("py", json!({ "n": 21 })).await;
    assert_eq!(
        (done.status, &done.output),
        (Status::Ok, &json!({ "twice": 42 })),
        "{done:?}"
    );
    let done = house.run("js", json!({ "a": 1, "b": 2 })).await;
    assert_eq!(
        (done.status, &done.output),
        (Status::Ok, &json!({ "sum": 3 })),
        "{done:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_a_result() {
    let house = House::new();
    house
        .skill(
            "code",
            "",
            bash("echo half; echo 'no such thing' >&2; exit 3"),
        )
        .skill(
            "slow",
            "metadata: {timeoutSec: 1}\n",
            bash("echo begun; sleep 20"),
        )
        .skill("own", "", bash("echo '{\"error\": \"said so\"}'; exit 1"))
        .skill(
            "strict",
            "input_schema: {properties: {n: {type: integer}}, required: [n]}\n",
            bash("echo"),
        );
    let done = house.run("code", json!({})).await;
    assert_eq!(done.status, Status::Failed);
    assert_eq!(done.output["exit_code"], 3);
    assert_eq!(
        done.error.as_deref(),
        Some("the skill ended with exit code 3: no such thing")
    );
    let done = house.run("slow", json!({})).await;
    assert_eq!(done.status, Status::Failed);
    assert!(
        done.error.as_deref().unwrap().contains("longer than 1 s"),
        "{done:?}"
    );
    assert_eq!(done.output["stdout"], "begun\n");
    assert!(done.duration < Duration::from_secs(5));
    let done = house.run("own", json!({})).await;
    assert_eq!(
        done.error.as_deref(),
        Some("the skill ended with exit code 1: said so")
    );
    let done = house.run("strict", json!({ "n": "x" })).await;
    assert_eq!((done.status, &done.output), (Status::Failed, &Value::Null));
    assert!(done.error.unwrap().contains("`n`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_granted_is_there() {
    let mut house = House::new();
    let outside = house.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(outside.join("file"), "content").unwrap();
    let outside = outside.canonicalize().unwrap();
    house.config.env.insert("GREETING".into(), "hello".into());
    house
        .config
        .secrets
        .insert("TOKEN".into(), Secret::new("tok-1234567890-abcdef"));
    let look = format!(
        "env; cat {}/file; echo kept >> \"$NEXFLOW_WORKSPACE/note\"; cat note",
        outside.display()
    );
    let keys = format!(
        "permissions: [filesystem, 'env:GREETING', 'secret:TOKEN', 'filesystem:read:{}']\n",
        outside.display()
    );
    house
        .skill("with", &keys, bash(&look))
        .skill("without", "", bash(&look));
    house.run("with", json!({})).await;
    let done = house.run("with", json!({})).await;
    let text = done.output["stdout"].as_str().unwrap();
    assert!(
        text.contains("GREETING=hello") && text.contains("content"),
        "{done:?}"
    );
    assert!(
        text.contains("TOKEN=[secret]"),
        "the value is masked: {text}"
    );
    assert!(
        text.ends_with("kept\nkept\n"),
        "the workspace keeps: {text}"
    );
    let mode = fs::metadata(house.workspace())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);

    fs::write(house.workspace().join("note"), "theirs").unwrap();
    let done = house.run("without", json!({})).await;
    let text = done.output["stdout"].as_str().unwrap();
    assert!(
        !text.contains("GREETING") && !text.contains("TOKEN") && !text.contains("content"),
        "{text}"
    );
    assert!(
        text.ends_with("kept\n") && !text.contains("theirs"),
        "{text}"
    );
    let left = fs::read_dir(house.dir.path().join("data/scratch"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "throwaway folders stay behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_granted_the_daemons_own_folders() {
    let house = House::new();
    let data = house.dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let data = data.canonicalize().unwrap();
    for (name, path) in [
        ("inside", data.join("x")),
        ("itself", data.clone()),
        ("above", data.parent().unwrap().into()),
    ] {
        fs::create_dir_all(&path).unwrap();
        let keys = format!("permissions: ['filesystem:read:{}']\n", path.display());
        house.skill(name, &keys, bash("echo"));
        let done = house.run(name, json!({})).await;
        assert_eq!(done.status, Status::Refused, "{name}: {done:?}");
        assert!(done.error.unwrap().contains("daemon's own"));
        fs::remove_dir_all(house.config.directory.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_trusted_does_not_run() {
    let house = House::new();
    house.skill("mine", "", bash("echo ran"));
    let catalog = Catalog::new(&house.config, PATH);
    catalog.load();
    let run = async |skill: Arc<Skill>| {
        house
            .runner()
            .run(
                &skill,
                json!({}),
                house.context(),
                &CancellationToken::new(),
            )
            .await
    };
    let done = run(catalog.get("mine").unwrap()).await;
    assert_eq!(done.status, Status::Refused);
    assert!(done.error.unwrap().contains("discovered"));

    let trusted = house.trusted().get("mine").unwrap();
    assert_eq!(run(Arc::clone(&trusted)).await.status, Status::Ok);
    // Changed behind the catalog's back.
    fs::write(trusted.dir.join("run.sh"), "echo evil").unwrap();
    let done = run(trusted).await;
    assert_eq!(done.status, Status::Refused);
    assert!(done.error.unwrap().contains("changed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sandbox_nothing_runs() {
    let mut house = House::new();
    house.config.sandbox_enabled = false;
    house.skill("any", "", bash("echo ran"));
    let done = house.run("any", json!({})).await;
    assert_eq!(done.status, Status::Refused);
    assert!(done.error.unwrap().contains("sandbox_enabled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_stopped() {
    let house = House::new();
    house.skill("long", "", bash("sleep 20"));
    let skill = house.trusted().get("long").unwrap();
    let (runner, cancel) = (house.runner(), CancellationToken::new());
    let stop = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancel.cancel();
    };
    let (done, ()) = tokio::join!(
        runner.run(&skill, json!({}), house.context(), &cancel),
        stop
    );
    assert_eq!(done.status, Status::Cancelled, "{done:?}");
    assert!(done.duration < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_progress_are_shown_live() {
    let house = House::new();
    let program = "echo one; echo '{\"progress\": 0.5, \"text\": \"half\"}' >&3; echo '{\"progress\": 7}' >&3\n\
                   printf 'api-key-'; sleep 0.2; printf '0123456789\\n'; echo '{\"ok\": true}'";
    let secret = Secret::new("api-key-0123456789");
    house.skill("talk", "", bash(program));
    let skill = house.trusted().get("talk").unwrap();
    let (live, mut pieces) = mpsc::channel(64);
    let context = RunContext {
        live: Some(live),
        ..house.context()
    };
    let done = house
        .runner()
        .run(&skill, json!({}), context, &CancellationToken::new())
        .await;
    assert_eq!(done.status, Status::Ok, "{done:?}");
    let mut all: Vec<LiveOutput> = Vec::new();
    while let Some(piece) = pieces.recv().await {
        all.push(piece);
    }
    let text: String = all
        .iter()
        .filter(|p| p.progress.is_none())
        .map(|p| p.text.as_str())
        .collect();
    assert_eq!(text, "one\n[secret]\n{\"ok\": true}\n");
    let progress: Vec<(f64, &str)> = all
        .iter()
        .filter_map(|p| p.progress.map(|n| (n, p.text.as_str())))
        .collect();
    assert_eq!(progress, [(0.5, "half"), (1.0, "")]);
    assert!(!format!("{done:?}").contains(secret.expose()));
}

struct Echo;

#[async_trait]
impl Abilities for Echo {
    async fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        match method {
            "schedule.add" => Ok(json!({ "did": method, "with": params })),
            _ => Err("it went wrong".to_owned()),
        }
    }
}

const CALLS: &str = r#"
import json, os, socket
out = {"fd": os.environ.get("NEXFLOW_ABILITIES_FD")}
if out["fd"]:
    s = socket.socket(fileno=int(out["fd"]))
    f = s.makefile("rw")
    for i, m in enumerate(["schedule.add", "schedule.list", "memory.add", "nothing"]):
        f.write(json.dumps({"id": i, "method": m, "params": {"n": i}}) + "\n")
        f.flush()
        out[m] = json.loads(f.readline())
print(json.dumps(out))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn abilities_are_for_those_who_were_granted_them() {
    let house = House::new();
    house
        .skill("asks", "permissions: [schedule]\n", ("run.py", CALLS))
        .skill("none", "", ("run.py", CALLS));
    let catalog = house.trusted();
    let run = async |name: &str| {
        let context = RunContext {
            abilities: Some(Arc::new(Echo)),
            ..house.context()
        };
        let skill = catalog.get(name).unwrap();
        house
            .runner()
            .run(&skill, json!({}), context, &CancellationToken::new())
            .await
    };
    let done = run("asks").await;
    assert_eq!(done.status, Status::Ok, "{done:?}");
    assert_eq!(
        done.output,
        json!({
            "fd": "4",
            "schedule.add": { "id": 0, "result": { "did": "schedule.add", "with": { "n": 0 } } },
            "schedule.list": { "id": 1, "error": "it went wrong" },
            "memory.add": { "id": 2, "error": "`memory.add` needs the permission `memory:write`" },
            "nothing": { "id": 3, "error": "`nothing` is not an ability" },
        })
    );
    assert_eq!(run("none").await.output, json!({ "fd": null }));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_the_workspace_can_be_granted() {
    let house = House::new();
    let program = "echo x > out/file && cat out/file; echo y 2>/dev/null > other || echo refused";
    let keys = "permissions: ['filesystem:write:workspace/out', 'filesystem:read:workspace']\n";
    house.skill("parts", keys, bash(program));
    let done = house.run("parts", json!({})).await;
    assert_eq!(done.output["stdout"], "x\nrefused\n", "{done:?}");
    assert!(house.workspace().join("out/file").is_file());
    // A link that a program left in the way leads nowhere.
    fs::remove_dir_all(house.workspace().join("out")).unwrap();
    std::os::unix::fs::symlink("/tmp", house.workspace().join("out")).unwrap();
    let done = house.run("parts", json!({})).await;
    assert_eq!(done.status, Status::Refused);
    assert!(done.error.unwrap().contains("is a link"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_in_the_middle() {
    let mut house = House::new();
    house.config.max_output_kb = 4;
    house.skill(
        "flood",
        "metadata: {maxOutputKb: 1000}\n",
        bash("echo start; seq 100000; echo end"),
    );
    let done = house.run("flood", json!({})).await;
    let text = done.output["stdout"].as_str().unwrap();
    assert!(
        text.starts_with("start\n") && text.ends_with("end\n") && text.contains("bytes left out")
    );
    assert!(text.len() < 5000, "{}", text.len());
}
