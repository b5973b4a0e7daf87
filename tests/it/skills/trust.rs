//! Trust through the real daemon: drift, what is different, and what was looked at.

use serde_json::{Value, json};

use crate::support::{Daemon, eventually, write_skill};

const ASKS: &str = "permissions: ['secret:TOKEN@api.example.org', 'network:api.example.org:443']\n";

async fn patch(daemon: &Daemon, name: &str, body: Value) -> crate::support::Reply {
    let owner = daemon.owner();
    let path = format!("/api/v1/skills/{name}");
    owner.send(owner.request("PATCH", &path).json(&body)).await
}

async fn known(daemon: &Daemon, name: &str) -> Value {
    let path = format!("/api/v1/skills/{name}");
    eventually("the skill is known", || async {
        daemon.owner().get(&path).await.status == 200
    })
    .await;
    daemon.owner().get(&path).await.ok()
}

async fn in_state(daemon: &Daemon, name: &str, state: &str) {
    eventually(state, || async {
        known(daemon, name).await["state"] == state
    })
    .await;
}

#[tokio::test]
async fn a_drift_is_quarantined_and_shown_in_every_line() {
    let daemon = Daemon::start().await;
    write_skill(
        daemon.folder.path(),
        "mine",
        "",
        ("run.sh", "#!/bin/bash\necho one\necho two\n"),
    );
    std::fs::write(daemon.path("skills/mine/old.txt"), "goes away\n").unwrap();
    in_state(&daemon, "mine", "discovered").await;

    // What nobody has trusted yet is shown whole.
    let owner = daemon.owner();
    let new = owner.get("/api/v1/skills/mine/diff").await.ok();
    assert_eq!(
        (&new["against"], &new["same"]),
        (&json!("nothing"), &json!(0))
    );
    assert_eq!(new["files"].as_array().unwrap().len(), 3);

    let shown = daemon.cli_ok(&["skill", "trust", "mine", "--yes"]).await;
    assert!(
        shown.contains("asks for nothing") && shown.contains("mine is trusted"),
        "{shown}"
    );
    let same = owner.get("/api/v1/skills/mine/diff").await.ok();
    assert_eq!(
        (&same["against"], &same["files"]),
        (&json!("trusted"), &json!([]))
    );

    let manifest = std::fs::read_to_string(daemon.path("skills/mine/SKILL.md")).unwrap();
    let greedy = manifest.replace("description:", "permissions: [network]\ndescription:");
    std::fs::write(daemon.path("skills/mine/SKILL.md"), greedy).unwrap();
    std::fs::write(
        daemon.path("skills/mine/run.sh"),
        "#!/bin/bash\necho one\necho evil\n",
    )
    .unwrap();
    std::fs::remove_file(daemon.path("skills/mine/old.txt")).unwrap();
    in_state(&daemon, "mine", "quarantined").await;
    let refused = owner.post("/api/v1/skills/mine", json!({})).await;
    assert_eq!(refused.error(), "SKILL_NOT_USABLE");
    assert!(refused.body.contains("quarantined"), "{}", refused.body);

    let found = owner.get("/api/v1/skills/mine/diff").await.ok();
    let files = found["files"].as_array().unwrap();
    let of = |path: &str| files.iter().find(|f| f["path"] == path).unwrap();
    let text = of("run.sh")["diff"].as_str().unwrap();
    assert!(
        text.contains("\n echo one\n-echo two\n+echo evil\n"),
        "{text}"
    );
    assert_eq!(of("old.txt")["change"], "removed");
    assert_eq!(of("SKILL.md")["change"], "changed");
    let asked = &found["permissions"][0];
    assert_eq!(
        (&asked["permission"], &asked["change"]),
        (&json!("network"), &json!("new"))
    );
    assert!(
        asked["text"]
            .as_str()
            .unwrap()
            .contains("any public web site")
    );

    let printed = daemon.cli_ok(&["skill", "diff", "mine"]).await;
    for part in [
        "quarantined",
        "+ network",
        "-echo two",
        "+echo evil",
        "old.txt (removed",
    ] {
        assert!(printed.contains(part), "{part} is missing: {printed}");
    }
    let json = daemon.cli_ok(&["skill", "diff", "mine", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), found);
    // Put back as it was, it is what was trusted.
    std::fs::write(daemon.path("skills/mine/SKILL.md"), manifest).unwrap();
    std::fs::write(
        daemon.path("skills/mine/run.sh"),
        "#!/bin/bash\necho one\necho two\n",
    )
    .unwrap();
    std::fs::write(daemon.path("skills/mine/old.txt"), "goes away\n").unwrap();
    in_state(&daemon, "mine", "trusted").await;
}

#[tokio::test]
async fn nobody_trusts_what_they_did_not_see() {
    let daemon = Daemon::with("skills: { watch: false }\n").await;
    write_skill(
        daemon.folder.path(),
        "mine",
        "",
        ("run.sh", "#!/bin/bash\necho one\n"),
    );
    let mut daemon = daemon;
    daemon.stop().await;
    daemon.launch().await;
    let seen = known(&daemon, "mine").await["hash"].clone();
    std::fs::write(
        daemon.path("skills/mine/run.sh"),
        "#!/bin/bash\necho evil\n",
    )
    .unwrap();
    for body in [
        json!({ "trusted": true, "hash": seen }),
        json!({ "trusted": true, "hash": "0" }),
    ] {
        let stale = patch(&daemon, "mine", body).await;
        assert_eq!(
            (stale.status, stale.error().as_str()),
            (409, "SKILL_CHANGED")
        );
    }
    assert_eq!(known(&daemon, "mine").await["state"], "discovered");
    let now = daemon.owner().get("/api/v1/skills/mine/diff").await.ok()["hash"].clone();
    assert_ne!(now, seen);
    let trusted = patch(&daemon, "mine", json!({ "trusted": true, "hash": now })).await;
    assert_eq!(trusted.ok()["state"], "trusted");
    // A member decides nothing, and sees no files.
    let token = daemon
        .cli_ok(&["token", "create", "--name", "m", "--role", "member"])
        .await;
    let stranger = daemon.stranger();
    let request = stranger
        .request("GET", "/api/v1/skills/mine/diff")
        .bearer_auth(token.trim());
    assert_eq!(stranger.send(request).await.status, 403);
}

#[tokio::test]
async fn a_raw_secret_is_granted_by_name_and_marked() {
    let daemon = Daemon::with("skills: { secrets: { TOKEN: tok-1234567890-abcdef } }\n").await;
    write_skill(
        daemon.folder.path(),
        "mine",
        ASKS,
        ("run.sh", "#!/bin/bash\necho one\n"),
    );
    let skill = known(&daemon, "mine").await;
    let wish =
        |secrets: Value| json!({ "trusted": true, "hash": skill["hash"], "raw_secrets": secrets });
    let wrong = patch(&daemon, "mine", wish(json!(["OTHER"]))).await;
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    let handle = patch(&daemon, "mine", wish(json!([]))).await.ok();
    assert_eq!(handle["granted"][0], "secret:TOKEN@api.example.org");
    assert_eq!(handle["raw_secrets"], json!([]));
    let args = ["skill", "trust", "mine", "--raw-secret", "TOKEN", "--yes"];
    let shown = daemon.cli_ok(&args).await;
    assert!(shown.contains("raw value"), "{shown}");
    let raw = known(&daemon, "mine").await;
    assert_eq!(raw["granted"][0], "secret:TOKEN");
    assert_eq!(raw["raw_secrets"], json!(["TOKEN"]));
    let diff = daemon.cli_ok(&["skill", "diff", "mine"]).await;
    assert!(diff.contains("secret:TOKEN (raw value)"), "{diff}");
    let audit = daemon.owner().get("/api/v1/audit").await.ok();
    assert!(audit.to_string().contains("\"secret:TOKEN\""), "{audit}");
}

/// How many processes have this word in their command line.
fn processes(word: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|e| {
        std::fs::read(e.path().join("cmdline")).is_ok_and(|line| {
            let line = String::from_utf8_lossy(&line).into_owned();
            line.starts_with("sleep") && line.contains(word)
        })
    })
    .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emergency_stop_ends_what_runs_and_survives_a_restart() {
    let mut daemon = Daemon::start().await;
    let program = "#!/bin/bash\nsleep 3141.59 &\n(setsid sleep 3141.59 &)\nsleep 3141.59\n";
    write_skill(daemon.folder.path(), "long", "", ("run.sh", program));
    known(&daemon, "long").await;
    patch(&daemon, "long", json!({ "trusted": true }))
        .await
        .ok();
    let owner = daemon.owner();
    let running = owner.clone();
    let run = async move { running.post("/api/v1/skills/long", json!({})).await.ok() };
    let stop = async {
        eventually("three of them sleep", || async {
            processes("3141.59") == 3
        })
        .await;
        let began = std::time::Instant::now();
        owner.post("/api/v1/skills/stop", json!({})).await.ok();
        eventually("none of them sleeps", || async {
            processes("3141.59") == 0
        })
        .await;
        began.elapsed()
    };
    let (done, took) = tokio::join!(run, stop);
    assert!(took.as_millis() < 500, "{took:?}");
    assert_eq!(done["status"], "cancelled", "{done}");
    let error = done["error"].as_str().unwrap();
    assert!(error.contains("nexflow skill start --all"), "{error}");

    for restarted in [false, true] {
        let owner = daemon.owner();
        let refused = owner.post("/api/v1/skills/long", json!({})).await.ok();
        assert_eq!(refused["status"], "refused", "{refused}");
        assert!(refused["error"].as_str().unwrap().contains("start --all"));
        let ready = owner.get("/ready").await;
        assert_eq!(
            (ready.status, &ready.json()["checks"]["skills"]),
            (200, &json!("stopped"))
        );
        let status = owner.get("/api/v1/status").await.ok();
        assert!(status["skills"]["stopped"]["by"].is_string(), "{status}");
        let metrics = owner.get("/metrics").await.body;
        assert!(metrics.contains("nexflow_skills_stopped 1"), "{metrics}");
        let status = daemon.cli_ok(&["status"]).await;
        assert!(
            status.contains("all stopped") && status.contains("start --all"),
            "{status}"
        );
        let doctor = daemon.cli(&["doctor"]).await;
        assert!(crate::support::text(&doctor.stdout).contains("start --all"));
        if !restarted {
            daemon.stop().await;
            daemon.launch().await;
        }
    }
    daemon.cli_ok(&["skill", "start", "--all"]).await;
    let owner = daemon.owner();
    assert_eq!(owner.get("/ready").await.json()["checks"]["skills"], "ok");
    let ran = owner
        .post(
            "/api/v1/skills/shell-run",
            json!({ "input": { "command": "true" } }),
        )
        .await
        .ok();
    assert_ne!(ran["status"], "refused", "{ran}");
    let audit = owner.get("/api/v1/audit").await.ok().to_string();
    for action in ["skill.stop_all", "skill.start_all"] {
        assert!(audit.contains(action), "{audit}");
    }
}

const SAYS: &str = r#"
import json, os, socket
s = socket.socket(fileno=int(os.environ["NEXFLOW_ABILITIES_FD"]))
f = s.makefile("rw")
answers = []
def say(text):
    f.write(json.dumps({"id": 1, "method": "message.send", "params": {"text": text, "chat": "other"}}) + "\n")
    f.flush()
    answers.append(json.loads(f.readline()))
say("half\u001b[31m way \u202ethere tok-1234567890-abcdef")
say("x" * 4001)
say(" ")
for n in range(10):
    say("n%d" % n)
print(json.dumps({"errors": [a["error"] for a in answers if "error" in a]}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_skill_says_something_in_its_own_session() {
    let daemon = Daemon::with("skills: { secrets: { TOKEN: tok-1234567890-abcdef } }\n").await;
    write_skill(
        daemon.folder.path(),
        "says",
        "permissions: ['message:send']\n",
        ("run.py", SAYS),
    );
    known(&daemon, "says").await;
    patch(&daemon, "says", json!({ "trusted": true }))
        .await
        .ok();
    let mut socket = daemon.socket("new", None).await;
    socket.say("/run says", "one").await;
    let frames = socket.all_until("message.completed").await;
    let first = frames.last().unwrap();
    assert_eq!(
        first["text"], "**says:** half way there [secret]",
        "{frames:?}"
    );
    assert!(first.get("turn_id").is_none());
    let mut said = 1;
    let answer = loop {
        let frame = socket.until("message.completed").await;
        if frame.get("turn_id").is_some() {
            break frame;
        }
        said += 1;
    };
    assert_eq!(said, 10, "ten messages a run");
    let text = answer["text"].as_str().unwrap();
    for part in ["4001 characters", "nothing to say", "at most 10"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let path = format!("/api/v1/sessions/{}/messages", socket.session);
    let kept = daemon.owner().get(&path).await.ok();
    let of_skill = kept["messages"].as_array().unwrap().iter();
    let of_skill = of_skill.filter(|m| m["text"].as_str().unwrap().starts_with("**says:**"));
    assert_eq!(of_skill.count(), 10, "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_not_what_was_declared_is_a_failure() {
    let daemon = Daemon::start().await;
    let schema = "output_schema: { properties: { list: { type: array, items: { type: integer } } }, required: [list] }\n";
    write_skill(
        daemon.folder.path(),
        "keeps",
        schema,
        ("run.sh", "#!/bin/bash\necho '{\"list\": [1, 2]}'\n"),
    );
    write_skill(
        daemon.folder.path(),
        "breaks",
        schema,
        ("run.sh", "#!/bin/bash\necho '{\"list\": [1, \"two\"]}'\n"),
    );
    for (name, status) in [("keeps", "ok"), ("breaks", "failed")] {
        known(&daemon, name).await;
        patch(&daemon, name, json!({ "trusted": true })).await.ok();
        let path = format!("/api/v1/skills/{name}");
        let done = daemon.owner().post(&path, json!({})).await.ok();
        assert_eq!(done["status"], status, "{done}");
        if status == "failed" {
            assert!(
                done["error"].as_str().unwrap().contains("`list.1`"),
                "{done}"
            );
            assert_eq!(done["output"]["list"][1], "two", "the output is kept");
        }
    }
}
