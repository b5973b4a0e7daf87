//! Questions with buttons, and stopping.

use std::time::Duration;

use serde_json::json;

use super::{Stage, said, say};
use crate::support::{
    discord::{FRIEND, GENERAL, ME, OWNER, OWNER_DM},
    eventually,
    model::Act,
    string, write_skill,
};

const RULES: &str = "approvals:\n  rules:\n    - { skill: ledger, decision: ask }\n";

async fn stage(acts: Vec<Act>) -> Stage {
    let stage = Stage::with(acts, "", RULES).await;
    let script = "#!/bin/bash\necho written\n";
    write_skill(
        stage.daemon.folder.path(),
        "ledger",
        "permissions: [shell]\neffects: [changes_state]\n",
        ("run.sh", script),
    );
    let owner = stage.daemon.owner();
    eventually("the skill is known", || async {
        owner.get("/api/v1/skills/ledger").await.status == 200
    })
    .await;
    stage
        .daemon
        .cli_ok(&["skill", "trust", "ledger", "--yes"])
        .await;
    stage
}

fn call() -> Act {
    Act::Call(vec![("ledger".to_owned(), json!({ "line": "one" }))])
}

/// The ids of the buttons that a channel shows.
fn buttons(stage: &Stage, channel: &str) -> Vec<String> {
    let posts = stage.discord.posts(channel);
    let rows = posts
        .iter()
        .flat_map(|post| post["components"].as_array().cloned().unwrap_or_default());
    let all = rows.flat_map(|row| row["components"].as_array().cloned().unwrap());
    all.map(|button| string(&button, "custom_id")).collect()
}

async fn asked(stage: &Stage, channel: &str) -> Vec<String> {
    eventually("it asks", || async { !buttons(stage, channel).is_empty() }).await;
    buttons(stage, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_decides_also_after_a_restart() {
    let mut stage = stage(vec![call(), say("It is written.")]).await;
    stage.discord.say(OWNER_DM, OWNER, "write it down");
    let buttons = asked(&stage, OWNER_DM).await;
    assert!(
        buttons[0].ends_with(":once") && buttons.last().unwrap().ends_with(":deny"),
        "{buttons:?}"
    );
    let question = &stage.discord.posts(OWNER_DM)[0];
    assert!(
        question["embeds"][0]["description"].is_string() && question["content"] == "",
        "it does not stand in a box: {question}"
    );
    stage.daemon.kill();
    stage.daemon.launch().await;
    stage.heard().await;
    let token = stage.discord.press(OWNER_DM, OWNER, &buttons[0]);
    eventually("it is done and answered", || async {
        stage
            .discord
            .posts(OWNER_DM)
            .iter()
            .any(|post| said(post) == "It is written.")
    })
    .await;
    eventually("the person is told", || async {
        stage.discord.given(&token).said.is_some()
    })
    .await;
    assert!(stage.discord.given(&token).acknowledged.unwrap() < Duration::from_secs(3));
    eventually("the question shows what became of it", || async {
        let posts = stage.discord.posts(OWNER_DM);
        posts.iter().any(|post| said(post).contains("Allowed"))
    })
    .await;
    assert!(
        super::approvals::buttons(&stage, OWNER_DM).is_empty(),
        "it can still be pressed"
    );
    // Pressed again, it says so and does nothing.
    let again = stage.discord.press(OWNER_DM, OWNER, &buttons[0]);
    eventually("the second press is answered", || async {
        stage.discord.given(&again).said.is_some()
    })
    .await;
    assert_eq!(stage.model.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_talk_may_not_decide() {
    let stage = stage(vec![call(), say("Written.")]).await;
    stage
        .discord
        .say(GENERAL, FRIEND, &format!("<@{ME}> write it down"));
    let buttons = asked(&stage, GENERAL).await;
    let token = stage.discord.press(GENERAL, FRIEND, &buttons[0]);
    eventually("the friend is told", || async {
        stage.discord.given(&token).said.is_some()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        !super::approvals::buttons(&stage, GENERAL).is_empty(),
        "a friend decided"
    );
    stage.discord.press(GENERAL, OWNER, &buttons[0]);
    eventually("it is answered", || async {
        stage
            .discord
            .posts(GENERAL)
            .iter()
            .any(|post| said(post) == "Written.")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_turn_is_stopped_by_a_command() {
    let long: String = (0..400).map(|n| format!("w{n} ")).collect();
    let stage = Stage::new([Act::Slowly(long, Duration::from_millis(100))], "").await;
    stage.discord.say(OWNER_DM, OWNER, "count to 400");
    stage.discord.posted(OWNER_DM, 1).await;
    let token = stage.discord.command(OWNER_DM, OWNER, "stop", None);
    eventually("the person is told", || async {
        stage.discord.given(&token).said.is_some()
    })
    .await;
    eventually("the post no longer grows", || async {
        let before = stage.discord.posts(OWNER_DM);
        tokio::time::sleep(Duration::from_secs(2)).await;
        stage.discord.posts(OWNER_DM) == before
    })
    .await;
    let last = said(stage.discord.posts(OWNER_DM).first().unwrap());
    assert!(
        !last.contains("w399") && last.contains("*Stopped.*"),
        "{last}"
    );
}
