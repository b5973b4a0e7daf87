//! Who may talk, and commands.

use std::time::Duration;

use super::{Stage, said, say};
use crate::support::{
    discord::{OWNER, OWNER_DM, STRANGER, STRANGER_DM},
    eventually,
};

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_registered_once_and_answered_in_time() {
    let mut stage = Stage::new([say("Anything.")], "").await;
    eventually("the commands are registered", || async {
        stage
            .discord
            .commands()
            .as_array()
            .is_some_and(|all| !all.is_empty())
    })
    .await;
    let names = stage.discord.commands().to_string();
    assert!(
        names.contains("\"help\"") && names.contains("\"stop\""),
        "{names}"
    );
    let token = stage.discord.command(OWNER_DM, OWNER, "help", None);
    let posts = stage.discord.posted(OWNER_DM, 1).await;
    assert!(said(&posts[0]).contains("/remind"), "{}", said(&posts[0]));
    eventually("the person is told", || async {
        stage.discord.given(&token).said.is_some()
    })
    .await;
    let given = stage.discord.given(&token);
    assert!(given.acknowledged.unwrap() < Duration::from_secs(3) && given.flags & 64 != 0);
    // The same commands are not told again.
    stage.daemon.kill();
    stage.daemon.launch().await;
    stage.heard().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let puts = stage
        .discord
        .seen()
        .into_iter()
        .filter(|s| s.method == "PUT");
    assert_eq!(puts.count(), 1);
}

/// Discord waits three seconds: what is given is acknowledged before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn commands_are_acknowledged_in_time_although_the_work_is_slow() {
    let stage = Stage::new([say("Anything.")], "").await;
    stage.discord.say(OWNER_DM, OWNER, "hello");
    stage.discord.posted(OWNER_DM, 1).await;
    let path = stage.daemon.path("data/nexflow.db");
    let database = rusqlite::Connection::open(path).unwrap();
    // Nothing can be written for longer than Discord waits.
    database.execute_batch("begin immediate").unwrap();
    let give = || stage.discord.command(OWNER_DM, OWNER, "help", None);
    let tokens: Vec<String> = (0..40).map(|_| give()).collect();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    for token in &tokens {
        let given = stage.discord.given(token);
        let took = given.acknowledged.expect("it was not acknowledged");
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert_eq!(given.said, None, "nothing can have been done");
    }
    database.execute_batch("rollback").unwrap();
    eventually("all are done", || async {
        let mut all = tokens.iter();
        all.all(|token| stage.discord.given(token).said.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_answered_until_the_owner_pairs_them() {
    let stage = Stage::new([say("Welcome.")], "").await;
    let file = stage.discord.file("gift.txt", "text/plain", b"a gift");
    let more = serde_json::json!({ "attachments": [file] });
    stage
        .discord
        .say_with(STRANGER_DM, STRANGER, "let me in", &more);
    let posts = stage.discord.posted(STRANGER_DM, 1).await;
    let told = said(&posts[0]);
    let code = told
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| {
            word.len() == 8
                && word
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        })
        .unwrap_or_else(|| panic!("no code in {told}"))
        .to_owned();
    assert_eq!(stage.model.requests().len(), 0);
    stage.daemon.cli_ok(&["user", "pair", &code]).await;
    assert_eq!(
        stage.discord.fetched().len(),
        0,
        "a stranger's file is left where it is"
    );
    stage
        .discord
        .say_with(STRANGER_DM, STRANGER, "and now?", &more);
    eventually("they are answered", || async {
        stage
            .discord
            .posts(STRANGER_DM)
            .iter()
            .any(|post| said(post) == "Welcome.")
    })
    .await;
    assert_eq!(stage.discord.fetched(), ["gift.txt"]);
}
