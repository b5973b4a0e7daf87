//! `nexflow doctor` tells the truth wherever it runs: as root and as nobody, with namespaces and
//! under a system call filter that forbids them, as in most containers.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::Daemon;

/// Forbids namespaces to what it starts.
const FORBID: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/forbid_unshare.py");
/// Nobody's number.
const NOBODY: u32 = 65_534;

/// A copy of the program that anybody can run, and a folder that anybody can write.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        };
        open(folder.path());
        for (from, to) in [
            (PathBuf::from(env!("CARGO_BIN_EXE_nexflow")), "nexflow"),
            (PathBuf::from(FORBID), "forbid.py"),
        ] {
            fs::copy(from, folder.path().join(to)).unwrap();
            open(&folder.path().join(to));
        }
        Self { folder }
    }

    /// What `doctor --json` says of the sandbox.
    fn doctor(&self, nobody: bool, forbidden: bool, config: &str) -> Value {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        fs::write(at("config.yml"), config).unwrap();
        let mut line = vec![at("nexflow")];
        if forbidden {
            line.splice(0..0, ["/usr/bin/python3".to_owned(), at("forbid.py")]);
        }
        let data = tempfile::tempdir_in(self.folder.path()).unwrap();
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .args(["doctor", "--json", "--config", &at("config.yml")])
            .args([
                "--data-dir",
                &data.path().join("data").display().to_string(),
            ])
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir(data.path())
            .stdin(Stdio::null());
        if nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        let done = command.output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout);
        let report: Value = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&done.stderr)));
        report
    }
}

/// One finding of the doctor.
fn finding<'a>(report: &'a Value, what: &str) -> &'a Value {
    let all = report["findings"].as_array().unwrap();
    all.iter()
        .find(|f| f["what"].as_str().unwrap().trim() == what)
        .unwrap_or_else(|| panic!("no {what} in {report:#}"))
}

fn detail(report: &Value, what: &str) -> String {
    finding(report, what)["detail"].as_str().unwrap().to_owned()
}

#[test]
fn doctor_finds_what_this_machine_can_do() {
    let place = Place::new();
    let users: &[bool] = if super::is_root() {
        &[false, true]
    } else {
        &[false]
    };
    for nobody in users {
        let report = place.doctor(*nobody, false, "");
        assert!(
            detail(&report, "sandbox").starts_with("full:"),
            "{report:#}"
        );
        for runtime in ["bash", "python", "node"] {
            let detail = detail(&report, &format!("layer runtime {runtime}"));
            assert!(detail.ends_with("works"), "{detail}");
        }
        if *nobody {
            let groups = detail(&report, "layer cgroup");
            assert!(groups.contains("cannot be written"), "{groups}");
        }
    }
}

#[test]
fn doctor_finds_that_namespaces_are_forbidden() {
    let place = Place::new();
    let users: &[bool] = if super::is_root() {
        &[false, true]
    } else {
        &[false]
    };
    for nobody in users {
        let report = place.doctor(*nobody, true, "");
        let sandbox = finding(&report, "sandbox");
        assert!(
            detail(&report, "sandbox").starts_with("degraded:"),
            "{report:#}"
        );
        assert!(
            sandbox["mend"].to_string().contains("forbidden here"),
            "{sandbox:#}"
        );
        let namespaces = detail(&report, "layer namespaces");
        assert!(namespaces.contains("unshare"), "{namespaces}");
        assert!(
            detail(&report, "layer runtime bash").ends_with("works"),
            "{report:#}"
        );
    }
}

#[test]
fn confinement_is_switched_off_by_two_keys_only() {
    let place = Place::new();
    let report = place.doctor(false, false, "skills: {sandbox_enabled: false}\n");
    assert!(
        detail(&report, "sandbox").starts_with("none:"),
        "{report:#}"
    );
    let both = "skills: {sandbox_enabled: false, allow_unconfined: true}\n";
    let report = place.doctor(false, false, both);
    assert!(
        detail(&report, "sandbox").starts_with("unconfined:"),
        "{report:#}"
    );
    let one = place.doctor(false, false, "skills: {allow_unconfined: true}\n");
    assert!(detail(&one, "sandbox").starts_with("full:"), "{one:#}");
}

/// The whole daemon in a container that forbids namespaces: the shipped skills work, and the data
/// directory stays closed.
#[tokio::test]
async fn skills_run_where_namespaces_are_forbidden() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    daemon.launch_under(&["/usr/bin/python3", FORBID]).await;
    let run = async |skill: &str, input: Value| {
        let path = format!("/api/v1/skills/{skill}");
        daemon
            .owner()
            .post(&path, json!({ "input": input }))
            .await
            .ok()
    };
    let look = "ls -la . && cat ../../USER.md ../../nexflow.db; ls ../..";
    let done = run("shell-run", json!({ "command": look })).await;
    let said = done["output"]["stderr"].as_str().unwrap();
    assert_eq!(said.matches("Permission denied").count(), 3, "{done:#}");
    assert!(!said.contains("not permitted"), "{done:#}");
    for (skill, input) in [
        ("file-write", json!({ "path": "a/b.txt", "content": "x" })),
        ("file-read", json!({ "path": "." })),
        ("git-basic", json!({ "action": "init", "repo": "r" })),
        ("reminder", json!({ "action": "list" })),
    ] {
        let done = run(skill, input).await;
        assert_eq!(done["status"], "ok", "{skill}: {done:#}");
    }
    let status = daemon.owner().get("/ready").await.ok();
    assert_eq!(status["checks"]["sandbox"], "degraded", "{status:#}");
}
