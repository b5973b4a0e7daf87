//! Scripts of instruction skills, run by a model through the real daemon.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
};

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join("skills/notes").join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn call(script: &str, args: &[&str]) -> Act {
    let args = json!({ "skill": "notes", "script": script, "args": args, "stdin": "from stdin" });
    Act::Call(vec![("run_skill_script".to_owned(), args)])
}

/// What the model was told of its last call.
fn told(model: &Model) -> String {
    model.requests().last().unwrap()["messages"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_runs_confined_and_says_what_it_lacks() {
    let acts = [
        call("scripts/show.py", &["one two", "--flag"]),
        Act::Say("done".to_owned()),
        call("scripts/show.py", &["one two", "--flag"]),
        Act::Say("done".to_owned()),
        call("scripts/fetch.py", &[]),
        Act::Say("done".to_owned()),
        call("../notes/scripts/show.py", &[]),
        Act::Say("done".to_owned()),
        call("scripts/missing.sh", &[]),
        Act::Say("done".to_owned()),
    ];
    let model = Model::start(acts).await;
    let config = format!(
        "{}skills: {{ grants: {{ notes: [filesystem] }} }}\n",
        model.config()
    );
    let daemon = Daemon::with(&config).await;
    let folder = daemon.folder.path();
    write(
        folder,
        "scripts/show.py",
        "import os, sys\nprint(sys.argv[1:], sys.stdin.read())\nopen('kept', 'w').write('x')\nprint(os.getcwd() == os.environ['NEXFLOW_WORKSPACE'], os.path.exists('/root/.ssh'))\n",
    );
    write(
        folder,
        "scripts/fetch.py",
        "import urllib.request\nurllib.request.urlopen('https://api.example.org/x')\n",
    );
    write(
        folder,
        "scripts/missing.sh",
        "set -e\nno-such-program --now\n",
    );
    write(
        folder,
        "SKILL.md",
        "---\nname: notes\ndescription: Notes.\nallowed-tools: network\n---\nRun scripts/show.py.\n",
    );
    let owner = daemon.owner();
    eventually("the skill is known", || async {
        owner.get("/api/v1/skills/notes").await.status == 200
    })
    .await;
    let shown = daemon.ask("try it").await;
    assert_eq!(shown["tool_calls"][0]["status"], "failed", "{shown}");
    assert!(told(&model).contains("is discovered"), "{}", told(&model));

    daemon.cli_ok(&["skill", "trust", "notes", "--yes"]).await;
    let shown = daemon.ask("try it").await;
    assert_eq!(
        shown["tool_calls"][0]["status"],
        "ok",
        "{shown} {}",
        told(&model)
    );
    let text = told(&model);
    for part in ["['one two', '--flag'] from stdin", "True False"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let tools = model.requests()[3]["tools"].to_string();
    assert!(tools.contains("run_skill_script"), "{tools}");

    let shown = daemon.ask("try it").await;
    assert_eq!(shown["tool_calls"][0]["status"], "failed", "{shown}");
    let text = told(&model);
    assert!(
        text.contains("It lacks: the permission `network:HOST:443`"),
        "{text}"
    );
    assert!(text.contains("skills.grants.notes"), "{text}");

    daemon.ask("try it").await;
    assert!(
        told(&model).contains("not a path inside"),
        "{}",
        told(&model)
    );
    daemon.ask("try it").await;
    let text = told(&model);
    assert!(
        text.contains("It lacks: a program that is not there"),
        "{text}"
    );
    assert!(text.contains("no-such-program"), "{text}");

    // Each run is an execution like any other, and the audit counts it.
    let audit = owner.get("/api/v1/skills/notes/audit").await.ok();
    assert_eq!(audit["runs"]["total"], 3, "{audit}");
    assert_eq!(audit["runs"]["by_status"]["failed"], 2, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_tells_what_is_unusual() {
    let daemon = Daemon::start().await;
    let folder = daemon.folder.path();
    write(
        folder,
        "SKILL.md",
        "---\nname: notes\ndescription: No\u{200b}tes.\npermissions: [network, 'secret:TOKEN']\n---\nText.\n",
    );
    write(folder, ".hidden", "x");
    write(folder, "tool.sh", "#!/bin/bash\necho\n");
    write(
        folder,
        "blob.js",
        &format!("const x = '{}';", "QUJD".repeat(800)),
    );
    std::fs::write(daemon.path("skills/notes/data.bin"), [0, 1, 2]).unwrap();
    std::os::unix::fs::symlink("SKILL.md", daemon.path("skills/notes/link.md")).unwrap();
    let owner = daemon.owner();
    eventually("all of it is known", || async {
        let skill = owner.get("/api/v1/skills/notes").await;
        skill.status == 200 && skill.json()["files"].as_array().unwrap().len() == 5
    })
    .await;
    let fine = daemon.cli_ok(&["skill", "audit"]).await;
    assert!(fine.contains("shell-run (trusted)"), "{fine}");
    daemon.cli_ok(&["skill", "trust", "notes", "--yes"]).await;
    let text = daemon.cli_ok(&["skill", "audit", "notes"]).await;
    for part in [
        "trusted    by owner at",
        "reaches any public web site (granted)",
        "secret:TOKEN (raw value)",
        ".hidden: a hidden file",
        "tool.sh: a program that SKILL.md does not name",
        "base64",
        "data.bin: no text",
        "link.md: a link to SKILL.md",
        "U+200B in line 3",
        "runs       none in 30 days",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    write(folder, "more.txt", "x");
    eventually("it is quarantined", || async {
        owner.get("/api/v1/skills/notes").await.ok()["state"] == "quarantined"
    })
    .await;
    let output = daemon.cli(&["skill", "audit", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert!(report["skills"].as_array().unwrap().len() > 6);
}
