//! This machine's clock is an hour off Discord's.

use super::{Stage, said, say};
use crate::support::{
    discord::{Discord, GENERAL, ME, OWNER, OWNER_DM},
    eventually,
    model::Act,
    text,
};

async fn doctor(stage: &Stage) -> String {
    text(&stage.daemon.cli(&["doctor"]).await.stdout)
}

/// What is said is answered, also what came while it was off; commands work; and it says that the clock is
/// wrong until it is right.
async fn an_hour_off(ahead: i64, words: &str) {
    let discord = Discord::start().await;
    discord.mood(|mood| mood.ahead = ahead);
    let acts = ["One.", "Two.", "Three.", "Four."].map(say);
    let mut stage = Stage::on(discord, acts, ("drafts: false", "")).await;
    let told = doctor(&stage).await;
    assert!(told.contains(words), "{told}");
    stage.discord.say(OWNER_DM, OWNER, "one");
    stage.discord.posted(OWNER_DM, 1).await;
    stage.discord.say(GENERAL, OWNER, &format!("<@{ME}> two"));
    stage.discord.posted(GENERAL, 1).await;
    stage.daemon.kill();
    stage.discord.say(OWNER_DM, OWNER, "three");
    stage.discord.say(GENERAL, OWNER, &format!("<@{ME}> four"));
    stage.daemon.launch().await;
    stage.discord.posted(OWNER_DM, 2).await;
    stage.discord.posted(GENERAL, 2).await;
    let token = stage.discord.command(OWNER_DM, OWNER, "help", None);
    eventually("the command is answered", || async {
        stage.discord.given(&token).said.is_some()
    })
    .await;
    let status = stage.daemon.owner().get("/api/v1/status").await.ok();
    assert!(status["connectors"].to_string().contains(words), "{status}");
    assert_eq!(stage.state().await.0, "ok", "a wrong clock is no failure");
    // Set right, it is said no more.
    stage.discord.mood(|mood| mood.ahead = 0);
    eventually("the clock is right again", || async {
        !doctor(&stage).await.contains("clock is")
    })
    .await;
    assert_eq!(stage.discord.posts(GENERAL).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_behind_is_told_and_loses_nothing() {
    an_hour_off(3600, "minutes behind Discord's").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_ahead_is_told_and_loses_nothing() {
    an_hour_off(-3600, "minutes ahead of Discord's").await;
}

/// The time in an answer's key is this machine's, that in the ids of posts is Discord's.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_found_again_whatever_the_clock_says() {
    use std::time::Duration;
    for ahead in [3600, -3600] {
        let discord = Discord::start().await;
        discord.mood(|mood| mood.ahead = ahead);
        let words: Vec<String> = (0..30).map(|n| format!("w{n}")).collect();
        let answer = words.join(" ");
        let acts = [
            say("Hello."),
            Act::Slowly(answer.clone(), Duration::from_millis(80)),
        ];
        let mut stage = Stage::on(discord, acts, ("", "")).await;
        stage.discord.say(OWNER_DM, OWNER, "hello");
        stage.discord.posted(OWNER_DM, 1).await;
        stage.daemon.kill();
        let point = ("NEXFLOW_FAILPOINT".to_owned(), "draft.posted".to_owned());
        stage.daemon.environment = vec![point];
        stage.daemon.launch().await;
        stage.discord.say(OWNER_DM, OWNER, "count");
        let began = std::time::Instant::now();
        while stage.daemon.ended().is_none() {
            assert!(
                began.elapsed() < crate::support::PATIENCE,
                "no draft was posted"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stage.discord.forget_nonces();
        stage.daemon.environment.clear();
        stage.daemon.launch().await;
        eventually("the answer takes the draft's place", || async {
            let posts = stage.discord.posts(OWNER_DM);
            posts.len() == 2 && said(&posts[1]) == answer && posts[1]["flags"] == 0
        })
        .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(stage.discord.posts(OWNER_DM).len(), 2, "{ahead}");
    }
}
