//! What networks and servers do, and how it is seen and mended.

use std::time::Duration;

use super::{OWNER, doctor, until, with_model};
use crate::support::{
    eventually,
    model::Act,
    telegram::{TOKEN, Trick, counted},
};

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

#[tokio::test]
async fn a_revoked_token_is_told_and_a_good_one_needs_no_restart() {
    let (fake, _model, daemon) = with_model([say("hello")], OWNER).await;
    until(&daemon, "ok").await;
    fake.world().token = "1:another".to_owned();
    let detail = until(&daemon, "needs_owner").await;
    assert!(
        detail.contains("401") && detail.contains("@BotFather"),
        "{detail}"
    );
    let (told, well) = doctor(&daemon).await;
    assert!(!well && told.contains(&detail), "{told}");
    fake.say(7, "are you there?");
    fake.world().token = TOKEN.to_owned();
    fake.post_with(7, "hello").await;
    until(&daemon, "ok").await;
}

#[tokio::test]
async fn a_second_program_with_the_token_is_told() {
    let (fake, _model, daemon) = with_model([say("hello")], OWNER).await;
    until(&daemon, "ok").await;
    let other = fake.other_poller(20).await;
    // The newer poll ends the older one, on both sides.
    let told = until(&daemon, "ok").await;
    assert_eq!(other["error_code"], 409, "{told}");
    assert!(
        daemon.log().contains("Another program listens"),
        "{}",
        daemon.log()
    );
    fake.say(7, "hi");
    fake.post_with(7, "hello").await;
}

#[tokio::test]
async fn a_storm_of_429_is_waited_out() {
    let (fake, _model, daemon) = with_model([say("at last")], OWNER).await;
    let refuse = Trick::Refuse(429, "Too Many Requests: retry after 1", Some(1));
    fake.trick("sendMessage", 3, &refuse);
    fake.trick("getUpdates", 2, &refuse);
    fake.say(7, "hello");
    fake.post_with(7, "at last").await;
    let sends = fake.calls("sendMessage");
    assert_eq!(sends.len(), 4);
    for pair in sends.windows(2) {
        let waited = pair[1].at - pair[0].at;
        assert!(waited >= Duration::from_millis(990), "{waited:?}");
    }
    until(&daemon, "ok").await;
}

#[tokio::test]
async fn a_long_429_is_told_and_waited_out() {
    let (fake, _model, daemon) = with_model([say("at last")], OWNER).await;
    let refuse = Trick::Refuse(429, "Too Many Requests: retry after 6", Some(6));
    fake.trick("sendMessage", 1, &refuse);
    fake.say(7, "hello");
    let why = until(&daemon, "failing").await;
    assert!(why.contains("Telegram takes no more for"), "{why}");
    let doctor = daemon.cli(&["doctor"]).await;
    let shown = crate::support::text(&doctor.stdout);
    assert!(shown.contains("Telegram takes no more for"), "{shown}");
    fake.post_with(7, "at last").await;
    until(&daemon, "ok").await;
}

#[tokio::test]
async fn an_answer_that_was_taken_before_the_connection_broke_is_not_sent_twice() {
    let (fake, _model, _daemon) = with_model([say("only once")], OWNER).await;
    fake.trick("sendMessage", 1, &Trick::DoneThenCut);
    fake.say(7, "hello");
    fake.confirmed().await;
    eventually("it was looked for", || async {
        !fake.calls("deleteMessage").is_empty()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fake.texts(7), ["only once"]);
    // And one that did not arrive is.
    fake.trick("sendMessage", 1, &Trick::Garbage);
    fake.say(7, "again");
    eventually("it came after all", || async { fake.texts(7).len() == 2 }).await;
}

#[tokio::test]
async fn entities_that_are_refused_cost_the_looks_and_not_the_words() {
    let (fake, _model, _daemon) = with_model([say("**bold** words")], OWNER).await;
    fake.trick(
        "sendMessage",
        1,
        &Trick::Refuse(400, "Bad Request: can't parse entities", None),
    );
    fake.say(7, "hello");
    let post = fake.post_with(7, "bold words").await;
    assert!(post.get("entities").is_none(), "{post}");
}

#[tokio::test]
async fn who_blocked_the_bot_is_not_asked_again_and_again() {
    let (fake, _model, daemon) = with_model([say("hello")], OWNER).await;
    fake.say(7, "hi");
    fake.world().chats.entry(7).or_default().blocked = true;
    eventually("it was given up", || async {
        let outbox = daemon.owner().get("/api/v1/outbox").await.ok();
        let dead = outbox["outbox"]
            .as_array()
            .unwrap()
            .iter()
            .any(|o| o["state"] == "dead");
        dead && outbox.to_string().contains("blocked")
    })
    .await;
    assert_eq!(fake.calls("sendMessage").len(), 1);
}

#[tokio::test]
async fn a_group_that_moved_is_followed() {
    const OLD: i64 = -55;
    const NEW: i64 = -1_000_000_000_055;
    let (fake, _model, _daemon) = with_model(
        [Act::Slowly(
            "a late answer".to_owned(),
            Duration::from_millis(300),
        )],
        "allowed_chats: [-55]",
    )
    .await;
    fake.write(
        OLD,
        7,
        serde_json::json!({ "text": "/status@nex_test_bot" }),
    );
    {
        let mut world = fake.world();
        world.chats.entry(OLD).or_default().moved_to = Some(NEW);
        world.chats.entry(NEW).or_default();
    }
    eventually("it was answered there", || async {
        !fake.posts(NEW).is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_restart_takes_up_what_waits_and_answers_each_once() {
    let (fake, _model, mut daemon) = with_model(
        [say("done")],
        "operators: [7], allowed_users: [20, 21, 22, 23, 24]",
    )
    .await;
    fake.say(7, "before");
    fake.post_with(7, "done").await;
    daemon.kill();
    for user in 20..25 {
        fake.say(user, "meanwhile");
    }
    daemon.launch().await;
    fake.confirmed().await;
    eventually("all were answered", || async {
        (20..25).all(|user| !fake.texts(user).is_empty())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for user in (20..25).chain([7]) {
        assert_eq!(
            counted(fake.texts(user)).values().sum::<usize>(),
            1,
            "{user}"
        );
    }
    assert_eq!(fake.world().dropped, 0);
}
