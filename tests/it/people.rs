//! Who may talk, through the doors of the real daemon; how its channels stand.

use serde_json::{Value, json};

use crate::{
    support::{Daemon, eventually, string},
    webhook::{hook_config, post_hook, receiver},
};

#[tokio::test]
async fn the_owner_says_who_may_do_what() {
    let (url, received) = receiver(0).await;
    let daemon = Daemon::with(&hook_config(&url)).await;
    let hook = json!({ "id": "m-1", "user": "ada", "text": "/usage" });
    assert_eq!(post_hook(&daemon, &hook, None).await.status, 202);
    eventually("the answer came", || async {
        !received.lock().unwrap().is_empty()
    })
    .await;
    let list = daemon.cli_ok(&["user", "list", "--json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["pairings"], json!([]));
    let users = list["users"].as_array().unwrap();
    let ada = users.iter().find(|u| u["channel"] == "webhook").unwrap();
    assert_eq!(
        (&ada["role"], &ada["account"]),
        (&json!("member"), &json!("home/ada"))
    );
    let id = string(ada, "id");
    let changed = daemon.cli_ok(&["user", "role", &id, "viewer"]).await;
    assert!(changed.contains("ada (webhook) is viewer"), "{changed}");
    assert!(
        daemon
            .cli_ok(&["user", "list"])
            .await
            .contains("you said so")
    );
    // Nobody waits with this code, and after ten of them none is taken.
    for _ in 0..10 {
        let wrong = daemon.cli(&["user", "pair", "ACDE3467"]).await;
        assert_eq!(wrong.status.code(), Some(1));
    }
    let owner = daemon.owner();
    let more = owner
        .post("/api/v1/pairings", json!({ "code": "ACDE3468" }))
        .await;
    assert_eq!(
        (more.status, more.error().as_str()),
        (429, "TOO_MANY_CODES")
    );
    daemon.cli_ok(&["user", "remove", &id]).await;
    let left = daemon.cli_ok(&["user", "list"]).await;
    assert!(!left.contains("webhook"), "{left}");
    let audit = daemon.cli_ok(&["audit", "list"]).await;
    for deed in ["user.role", "user.remove", "pairing.wrong"] {
        assert!(audit.contains(deed), "{deed} in {audit}");
    }
    // Only the owner: not with a token of less.
    let token = ["token", "create", "--name", "m", "--role", "member"];
    let token = daemon.cli_ok(&token).await;
    for path in ["/api/v1/users", "/api/v1/pairings"] {
        let request = daemon
            .stranger()
            .request("GET", path)
            .bearer_auth(token.trim());
        assert_eq!(daemon.stranger().send(request).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn how_channels_stand_is_told_everywhere() {
    let off = "channels:\n  webhook: { enabled: false, endpoints: {} }\n";
    let daemon = Daemon::with(off).await;
    let ready = daemon.stranger().get("/ready").await.ok();
    let checks = &ready["checks"];
    assert_eq!(checks["connectors"]["webhook"], "off");
    // What the owner wants off is not broken, and not down.
    assert_eq!(checks["connectors_broken"], json!({}));
    let metrics = daemon.stranger().get("/metrics").await.body;
    let up = "nexflow_connector_up{connector=\"web\"} 1";
    assert!(metrics.contains(up), "{metrics}");
    assert!(!metrics.contains("connector=\"webhook\""), "{metrics}");
    let status = daemon.owner().get("/api/v1/status").await.ok();
    let warned = status["warnings"].to_string();
    assert!(!warned.contains("webhook"), "{warned}");
}
