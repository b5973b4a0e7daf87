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
