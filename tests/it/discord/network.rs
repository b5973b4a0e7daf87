//! A network that is cut, in both of the ways in which networks are.

use std::time::{Duration, Instant};

use super::{Stage, said, say};
use crate::support::{
    discord::{Discord, GENERAL, ME, OWNER, OWNER_DM},
    eventually,
    model::Act,
    telegram::proxy::State,
    text,
};

/// What `nexflow doctor` says of the connector.
async fn doctor(stage: &Stage) -> String {
    let told = stage.daemon.cli(&["doctor"]).await;
    let told = text(&told.stdout);
    let lines: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("connector discord"))
        .collect();
    assert_eq!(lines.len(), 1, "{told}");
    lines[0].to_owned()
}

/// Cut for a while in this way, with talk in between: told while it lasts, mended without a restart, and
/// nothing is lost or said twice.
async fn cut_and_mended(how: State, cut_for: Duration) {
    let (discord, wire) = Discord::wired().await;
    let first = Act::Slowly(
        "one two three four five".to_owned(),
        Duration::from_millis(300),
    );
    let stage = Stage::on(discord, [first, say("After."), say("After.")], ("", "")).await;
    // The model writes while the network goes.
    stage.discord.say(OWNER_DM, OWNER, "count");
    eventually("the model is asked", || async {
        stage.model.requests().len() == 1
    })
    .await;
    wire.set(how);
    let began = Instant::now();
    let why = stage.until_state("failing").await;
    assert!(
        why.contains("goes on trying by itself"),
        "a person does not know what to do: {why}"
    );
    let told = doctor(&stage).await;
    eprintln!("{how:?}, told after {:.1?}: {told}", began.elapsed());
    assert!(
        told.contains("failing: ") && told.contains("goes on trying by itself"),
        "{told}"
    );
    // After minutes the session is gone.
    stage.discord.forget();
    stage.discord.say(OWNER_DM, OWNER, "in private");
    let mention = format!("<@{ME}> in public");
    stage.discord.say(GENERAL, OWNER, &mention);
    tokio::time::sleep(cut_for.saturating_sub(began.elapsed())).await;
    assert_eq!(stage.state().await.0, "failing");
    wire.set(State::Whole);
    let mended = Instant::now();
    stage.until_state("ok").await;
    eprintln!("{how:?}, mended after {:.1?}", mended.elapsed());
    eventually("all is answered", || async {
        let private: Vec<String> = stage.discord.posts(OWNER_DM).iter().map(said).collect();
        let public = stage.discord.posts(GENERAL).len();
        private.len() == 2 && private[1] == "After." && public == 1
    })
    .await;
    let told = doctor(&stage).await;
    assert!(told.contains("discord: ok"), "{told}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let private: Vec<String> = stage.discord.posts(OWNER_DM).iter().map(said).collect();
    assert_eq!(private, ["one two three four five", "After."]);
    assert_eq!(stage.discord.posts(GENERAL).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_refuses_is_told_and_comes_back() {
    cut_and_mended(State::Cut, Duration::from_secs(6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_everything_is_told_and_comes_back() {
    cut_and_mended(State::Deaf, Duration::from_secs(12)).await;
}
