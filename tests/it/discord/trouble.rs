//! What goes wrong: tokens, intents, limits, lost connections, missed messages.

use std::time::Duration;

use super::{Stage, said, say};
use crate::support::{
    discord::{Discord, FRIEND, GENERAL, ME, OWNER, OWNER_DM, THREAD, TOKEN},
    eventually,
    model::Act,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_and_mended_without_a_restart() {
    let discord = Discord::start().await;
    discord.mood(|mood| mood.token = "another".to_owned());
    let stage = Stage::on(discord, [say("Back.")], ("", "")).await;
    let why = stage.until_state("needs_owner").await;
    assert!(why.contains("Reset Token") && !why.contains(TOKEN), "{why}");
    let doctor = stage.daemon.cli(&["doctor"]).await;
    let shown = crate::support::text(&doctor.stdout);
    assert!(shown.contains("Reset Token"), "{shown}");
    stage.discord.mood(|mood| mood.token = TOKEN.to_owned());
    stage.until_state("ok").await;
    stage.discord.say(OWNER_DM, OWNER, "there?");
    stage.discord.posted(OWNER_DM, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_intent_names_its_switch_and_is_mended_without_a_restart() {
    let discord = Discord::start().await;
    discord.mood(|mood| mood.content = false);
    let stage = Stage::on(discord, [say("Now I read.")], ("", "")).await;
    let why = stage.until_state("needs_owner").await;
    assert!(why.contains("`Message Content Intent`"), "{why}");
    assert_eq!(stage.discord.sessions().0, 0);
    stage.discord.mood(|mood| mood.content = true);
    stage.until_state("ok").await;
    stage.discord.say(OWNER_DM, OWNER, "read this");
    stage.discord.posted(OWNER_DM, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_stops_all_requests_until_it_is_good_again() {
    let stage = Stage::new([say("One."), say("Two.")], "").await;
    stage.discord.say(OWNER_DM, OWNER, "one");
    stage.discord.posted(OWNER_DM, 1).await;
    stage.discord.mood(|mood| mood.token = "renewed".to_owned());
    stage.discord.close(4004);
    let why = stage.until_state("needs_owner").await;
    assert!(why.contains("Reset Token"), "{why}");
    let before = stage.discord.seen().len();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = stage.discord.seen().len() - before;
    assert!(asked <= 5, "{asked} requests with a token that is refused");
    // What is said meanwhile is fetched afterwards.
    stage.discord.say(OWNER_DM, OWNER, "two");
    stage.discord.mood(|mood| mood.token = TOKEN.to_owned());
    stage.until_state("ok").await;
    let posts = stage.discord.posted(OWNER_DM, 2).await;
    assert_eq!(said(&posts[1]), "Two.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_429_delays_answers_and_loses_none() {
    let stage = Stage::new([say("Through.")], "drafts: false").await;
    stage.discord.mood(|mood| mood.storm = (8, 0.4, true));
    stage.discord.say(OWNER_DM, OWNER, "one");
    stage.discord.say(GENERAL, OWNER, &format!("<@{ME}> two"));
    stage.discord.posted(OWNER_DM, 1).await;
    stage.discord.posted(GENERAL, 1).await;
    let refused = stage
        .discord
        .seen()
        .iter()
        .filter(|s| s.status == 429)
        .count();
    assert_eq!(refused, 8);
    assert_eq!(stage.discord.posts(OWNER_DM).len(), 1);
    assert_eq!(stage.discord.posts(GENERAL).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_429_is_told_and_waited_out() {
    let stage = Stage::new([say("Through.")], "drafts: false").await;
    stage.discord.mood(|mood| mood.storm = (1, 9.0, true));
    stage.discord.say(OWNER_DM, OWNER, "one");
    let why = stage.until_state("failing").await;
    assert!(why.contains("takes no more for"), "{why}");
    let doctor = stage.daemon.cli(&["doctor"]).await;
    let shown = crate::support::text(&doctor.stdout);
    assert!(shown.contains("what waits is sent then"), "{shown}");
    stage.until_state("ok").await;
    stage.discord.posted(OWNER_DM, 1).await;
    let refused = stage.discord.seen();
    assert_eq!(refused.iter().filter(|s| s.status == 429).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_although_it_failed_is_not_made_again() {
    let stage = Stage::new([say("Only once.")], "drafts: false").await;
    stage.discord.mood(|mood| mood.made_and_lost = 1);
    stage.discord.say(OWNER_DM, OWNER, "one");
    stage.discord.posted(OWNER_DM, 1).await;
    // Its fate was settled by looking, so nothing was posted again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let made =
        |s: &&crate::support::discord::Seen| s.method == "POST" && s.path.ends_with("/messages");
    assert_eq!(stage.discord.seen().iter().filter(made).count(), 1);
    assert_eq!(stage.discord.posts(OWNER_DM).len(), 1);
    let outbox = stage.daemon.cli_ok(&["outbox", "list"]).await;
    assert!(!outbox.contains("Only once"), "it is not settled: {outbox}");
}

/// Where the history cannot be read, Discord itself drops what it has: by the nonce.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_has_the_same_nonce_and_is_not_doubled() {
    let stage = Stage::new([say("Only once.")], "drafts: false").await;
    stage.discord.mood(|mood| {
        mood.made_and_lost = 1;
        mood.denied = 1 << 16;
    });
    let id = stage.discord.say(GENERAL, OWNER, &format!("<@{ME}> hello"));
    let made = || {
        let seen = stage.discord.seen().into_iter();
        let made = seen.filter(|s| s.method == "POST" && s.path.ends_with("/messages"));
        made.collect::<Vec<_>>()
    };
    eventually("it is sent again", || async { made().len() == 2 }).await;
    let made = made();
    assert_eq!(made[0].body["enforce_nonce"], true);
    assert_eq!(made[0].body["nonce"], made[1].body["nonce"]);
    assert_eq!((made[0].status, made[1].status), (502, 200));
    eventually("it is settled", || async {
        let outbox = stage.daemon.owner().get("/api/v1/outbox?all=true").await;
        outbox.ok().to_string().contains("\"delivered\"")
    })
    .await;
    let posts = stage.discord.posts(GENERAL);
    assert_eq!(posts.len(), 1);
    assert_eq!(posts[0]["message_reference"]["message_id"], id);
}

/// What is told besides answers stands in a box.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_and_what_a_command_gave_are_told_in_boxes() {
    let wrong = Act::Status(401, "{}".to_owned());
    let stage = Stage::new([wrong], "").await;
    stage.discord.say(OWNER_DM, OWNER, "hello");
    stage.discord.posted(OWNER_DM, 1).await;
    stage.discord.command(OWNER_DM, OWNER, "help", None);
    let posts = stage.discord.posted(OWNER_DM, 2).await;
    for (post, word) in posts.iter().zip(["HTTP 401", "/remind"]) {
        let described = post["embeds"][0]["description"].as_str();
        assert!(
            described.is_some_and(|text| text.contains(word)) && post["content"] == "",
            "{post}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_resumed_and_what_was_said_in_between_is_heard() {
    let stage = Stage::new([say("Heard.")], "").await;
    let before = stage.discord.sessions();
    stage.discord.cut();
    stage.discord.say(OWNER_DM, OWNER, "while it was cut");
    stage.discord.posted(OWNER_DM, 1).await;
    let after = stage.discord.sessions();
    assert_eq!(
        (after.0, after.1),
        (before.0, before.1 + 1),
        "it began anew instead of resuming"
    );
    // Asked to connect again, it does the same.
    stage.discord.reconnect();
    eventually("it was resumed", || async {
        stage.discord.sessions().1 == after.1 + 1
    })
    .await;
    stage.discord.say(OWNER_DM, OWNER, "and again");
    stage.discord.posted(OWNER_DM, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_session_it_begins_anew_and_fetches_what_it_missed() {
    let stage = Stage::new([say("Heard.")], "").await;
    stage.discord.say(OWNER_DM, OWNER, "first");
    stage.discord.posted(OWNER_DM, 1).await;
    let before = stage.discord.sessions().0;
    stage.discord.forget();
    stage.discord.say(OWNER_DM, OWNER, "missed in private");
    stage
        .discord
        .say(GENERAL, OWNER, &format!("<@{ME}> missed in public"));
    stage.discord.say(GENERAL, OWNER, "not for it");
    stage.discord.mood(|mood| mood.acks = false);
    // It notices by itself that nobody answers its heartbeats.
    eventually("it begins anew", || async {
        stage.discord.sessions().0 > before
    })
    .await;
    stage.discord.mood(|mood| mood.acks = true);
    stage.discord.posted(OWNER_DM, 2).await;
    stage.discord.posted(GENERAL, 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.discord.posts(OWNER_DM).len(), 2);
    assert_eq!(stage.discord.posts(GENERAL).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connected_but_deaf_is_noticed() {
    let stage = Stage::new([say("Heard.")], "watchdog_sec: 2").await;
    stage.discord.say(OWNER_DM, OWNER, "first");
    stage.discord.posted(OWNER_DM, 1).await;
    let before = stage.discord.sessions().0;
    // Heartbeats are acknowledged, events do not come.
    stage.discord.mood(|mood| mood.events = false);
    stage.discord.say(OWNER_DM, OWNER, "into the void");
    stage.discord.posted(OWNER_DM, 2).await;
    eventually("it begins anew", || async {
        stage.discord.sessions().0 > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_gone_comes_back() {
    let stage = Stage::new([say("Heard.")], "").await;
    stage.discord.say(OWNER_DM, OWNER, "first");
    stage.discord.posted(OWNER_DM, 1).await;
    stage.discord.mood(|mood| mood.up = false);
    stage.discord.cut();
    let why = stage.until_state("failing").await;
    assert!(!why.is_empty());
    stage.discord.forget();
    stage.discord.say(OWNER_DM, OWNER, "while it was gone");
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.discord.mood(|mood| mood.up = true);
    stage.discord.posted(OWNER_DM, 2).await;
    stage.until_state("ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named() {
    let stage = Stage::new([say("Into the void.")], "drafts: false").await;
    stage.discord.mood(|mood| mood.denied = 1 << 11);
    stage.discord.say(GENERAL, OWNER, &format!("<@{ME}> hello"));
    eventually("it is given up and said why", || async {
        let outbox = stage.daemon.cli_ok(&["outbox", "list", "--json"]).await;
        outbox.contains("the bot lacks `Send Messages` in the channel")
    })
    .await;
    let tries = stage
        .discord
        .seen()
        .iter()
        .filter(|s| s.status == 403)
        .count();
    assert_eq!(tries, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_a_place_that_was_never_heard_is_not_passed_over() {
    let mut stage = Stage::new([say("Here.")], "").await;
    // It was connected once, and heard nothing.
    eventually("it is ready", || async { stage.state().await.0 == "ok" }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stage.daemon.kill();
    let id = stage
        .discord
        .say(THREAD, FRIEND, &format!("<@{ME}> and seeds?"));
    stage.daemon.launch().await;
    let posts = stage.discord.posted(THREAD, 1).await;
    assert_eq!(posts[0]["message_reference"]["message_id"], id);
}
