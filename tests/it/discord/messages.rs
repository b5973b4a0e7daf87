//! Messages in and answers out.

use std::time::Duration;

use serde_json::json;

use super::{Stage, said, say};
use crate::support::{
    discord::{CREW, FRIEND, FRIEND_DM, GARDEN, GENERAL, ME, OWNER, OWNER_DM, THREAD},
    eventually,
    model::Act,
    string,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_message_is_answered_once_and_as_a_reply() {
    let stage = Stage::new([say("Good **morning**, Ada.")], "").await;
    let id = stage.discord.say(OWNER_DM, OWNER, "good morning");
    let posts = stage.discord.posted(OWNER_DM, 1).await;
    assert_eq!(said(&posts[0]), "Good **morning**, Ada.");
    assert_eq!(posts[0]["message_reference"]["message_id"], id);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stage.discord.posts(OWNER_DM).len(), 1);
    let asked = stage.model.requests()[0].to_string();
    assert!(asked.contains("good morning"), "{asked}");
    assert_eq!(stage.discord.too_fast(), 0);
    assert_eq!(stage.state().await, ("ok".to_owned(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_comes_in_order_whole_and_within_the_limit() {
    let rows: String = (0..200)
        .map(|n| format!("- point {n}: {}\n", "word ".repeat(12)))
        .collect();
    let code: String = (0..200).map(|n| format!("let line_{n} = {n};\n")).collect();
    let text = format!("# Title\n\n{rows}\n```rust\n{code}```\n\nThe end.");
    let stage = Stage::new([Act::Say(text)], "drafts: false").await;
    stage.discord.say(OWNER_DM, OWNER, "tell me all");
    eventually("the end came", || async {
        stage
            .discord
            .posts(OWNER_DM)
            .last()
            .is_some_and(|post| said(post).ends_with("The end."))
    })
    .await;
    let posts = stage.discord.posts(OWNER_DM);
    assert!(posts.len() > 8, "{}", posts.len());
    let whole: Vec<String> = posts.iter().map(said).collect();
    for (at, part) in whole.iter().enumerate() {
        assert!(
            part.matches("```").count().is_multiple_of(2),
            "a fence is open in {at}: {part}"
        );
    }
    let whole = whole.join("\n");
    for n in 0..200 {
        assert_eq!(
            whole.matches(&format!("point {n}: ")).count(),
            1,
            "point {n}"
        );
    }
    for n in 0..200 {
        assert_eq!(
            whole.matches(&format!("line_{n} = ")).count(),
            1,
            "line {n}"
        );
    }
    assert!(posts[0]["message_reference"].is_object() && posts[1]["message_reference"].is_null());
    assert_eq!(
        stage.discord.too_fast(),
        0,
        "it posted faster than the headers let it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_comes_in_and_one_that_does_not_is_told() {
    let stage = Stage::new([say("I see.")], "").await;
    // The smallest PNG.
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
    let picture = stage.discord.file("garden.png", "image/png", png);
    let mut gone = stage.discord.file("gone.txt", "text/plain", b"x");
    gone["url"] = format!("{}/files/nowhere.txt", stage.discord.url).into();
    let mut huge = stage
        .discord
        .file("huge.bin", "application/octet-stream", b"x");
    huge["size"] = (26 << 20).into();
    let more = json!({ "attachments": [picture, gone, huge] });
    stage.discord.say_with(OWNER_DM, OWNER, "look", &more);
    stage.discord.posted(OWNER_DM, 1).await;
    let sessions = stage.daemon.owner().get("/api/v1/sessions").await.ok();
    let session = string(&sessions["sessions"][0], "id");
    let path = format!("/api/v1/sessions/{session}/messages");
    let kept = stage.daemon.owner().get(&path).await.ok().to_string();
    assert!(
        kept.contains("\"garden.png\"") && kept.contains("image/png"),
        "{kept}"
    );
    assert!(
        kept.contains("gone.txt did not come") && kept.contains("404"),
        "{kept}"
    );
    assert!(
        kept.contains("huge.bin did not come") && kept.contains("25 MB"),
        "{kept}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_server_it_answers_when_it_is_meant() {
    let stage = Stage::new(
        [say("Here.")],
        &format!("rooms: {{ '{GARDEN}': {{ always_answer: true }} }}"),
    )
    .await;
    let discord = &stage.discord;
    discord.say(GENERAL, FRIEND, "how is everybody?");
    let id = discord.say(
        GENERAL,
        FRIEND,
        &format!("<@{ME}> where are you? <@{OWNER}> asks"),
    );
    let posts = discord.posted(GENERAL, 1).await;
    assert_eq!(posts[0]["message_reference"]["message_id"], id);
    let asked = stage.model.requests()[0].to_string();
    assert!(asked.contains("where are you? @ada asks"), "{asked}");
    assert!(!asked.contains("how is everybody"), "{asked}");
    // A reply to one of its posts means it too.
    let replied = json!({ "type": 19, "referenced_message": posts[0], "message_reference": { "message_id": posts[0]["id"] } });
    discord.say_with(GENERAL, FRIEND, "thank you", &replied);
    discord.posted(GENERAL, 2).await;
    // In this room everything does, and a thread is a conversation of its own.
    discord.say(GARDEN, FRIEND, "it rains");
    discord.posted(GARDEN, 1).await;
    discord.say(THREAD, FRIEND, &format!("<@{ME}> and seeds?"));
    discord.posted(THREAD, 1).await;
    let sessions = stage.daemon.owner().get("/api/v1/sessions").await.ok();
    assert_eq!(
        sessions["sessions"].as_array().unwrap().len(),
        3,
        "{sessions}"
    );
    assert_eq!(discord.posts(GENERAL).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_not_answered_and_a_listed_role_is() {
    let stage = Stage::new([say("Yes.")], &format!("allowed_roles: ['{CREW}']")).await;
    let mention = format!("<@{ME}> hello");
    let webhook = json!({ "webhook_id": "5" });
    stage.discord.say_with(GENERAL, FRIEND, &mention, &webhook);
    stage
        .discord
        .say_with(OWNER_DM, OWNER, "pinned", &json!({ "type": 6 }));
    stage.discord.set_roles("700000000000000009", &[CREW]);
    let id = stage.discord.say(GENERAL, "700000000000000009", &mention);
    let posts = stage.discord.posted(GENERAL, 1).await;
    assert_eq!(posts[0]["message_reference"]["message_id"], id);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        (
            stage.discord.posts(GENERAL).len(),
            stage.discord.posts(OWNER_DM).len()
        ),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_grows_in_one_post() {
    let words: String = (0..40).map(|n| format!("w{n} ")).collect();
    let stage = Stage::new([Act::Slowly(words.clone(), Duration::from_millis(120))], "").await;
    stage.discord.say(FRIEND_DM, FRIEND, "count");
    let growing = stage.discord.posted(FRIEND_DM, 1).await;
    let early = said(&growing[0]);
    assert!(!early.contains("w39"), "it came whole: {early}");
    eventually("it is whole", || async {
        said(&stage.discord.posts(FRIEND_DM)[0]).trim() == words.trim()
    })
    .await;
    assert_eq!(stage.discord.posts(FRIEND_DM).len(), 1);
    let seen = stage.discord.seen();
    let edits = seen.iter().filter(|s| s.method == "PATCH").count();
    assert!(
        (2..=8).contains(&edits),
        "{edits} edits in about five seconds"
    );
    assert!(
        seen.iter().any(|s| s.path.ends_with("/typing")),
        "it was not shown that it writes"
    );
    assert_eq!(stage.discord.too_fast(), 0);
    assert_eq!(
        stage.discord.posts(FRIEND_DM)[0]["flags"],
        0,
        "an answer shows previews again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_message_is_answered_anew_and_a_picture_of_a_link_is_no_change() {
    let stage = Stage::new([say("First."), say("Second.")], "drafts: false").await;
    let id = stage
        .discord
        .say(OWNER_DM, OWNER, "see https://example.org");
    stage.discord.posted(OWNER_DM, 1).await;
    stage.discord.unfurl(OWNER_DM, &id);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.model.requests().len(), 1);
    stage
        .discord
        .edit(OWNER_DM, &id, "see https://example.com instead");
    eventually("the changed message is answered", || async {
        stage
            .discord
            .posts(OWNER_DM)
            .iter()
            .any(|post| said(post) == "Second.")
    })
    .await;
    // Its links are looked up again, which is no second change.
    stage.discord.unfurl(OWNER_DM, &id);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.model.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_out_and_one_that_is_too_large_is_told() {
    let send = |path: &str| ("send_file".to_owned(), json!({ "path": path }));
    let calls = Act::Call(vec![send("report.csv"), send("big.bin")]);
    let stage = Stage::new([say("hello"), calls, say("here")], "drafts: false").await;
    stage.discord.say(OWNER_DM, OWNER, "hello");
    stage.discord.posted(OWNER_DM, 1).await;
    let sessions = stage.daemon.owner().get("/api/v1/sessions").await.ok();
    let session = string(&sessions["sessions"][0], "id");
    let workspace = stage.daemon.path(&format!("data/workspaces/{session}"));
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::write(workspace.join("report.csv"), "a,b\n1,2\n").unwrap();
    std::fs::write(workspace.join("big.bin"), vec![0; (10 << 20) + 1]).unwrap();
    stage.discord.say(OWNER_DM, OWNER, "send them");
    let posts = stage.discord.posted(OWNER_DM, 2).await;
    let text = said(&posts[1]);
    assert!(
        text.starts_with("here") && text.contains("big.bin") && text.contains("was not sent"),
        "{text}"
    );
    assert_eq!(posts[1]["attachments"][0]["filename"], "report.csv");
    let seen = stage.discord.seen();
    let with_files = seen.iter().find(|s| !s.files.is_empty()).unwrap();
    assert_eq!(
        with_files.files,
        [("report.csv".to_owned(), b"a,b\n1,2\n".to_vec())]
    );
    assert_eq!(with_files.body["attachments"][0]["filename"], "report.csv");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_message_that_waits_is_not_answered() {
    let words: String = (0..30).map(|n| format!("w{n} ")).collect();
    let slow = Act::Slowly(words, Duration::from_millis(100));
    let stage = Stage::with(
        [slow, say("Another.")],
        "drafts: false",
        "turns: { when_busy: queue }\n",
    )
    .await;
    stage.discord.say(OWNER_DM, OWNER, "count");
    eventually("it counts", || async { stage.model.requests().len() == 1 }).await;
    let id = stage.discord.say(OWNER_DM, OWNER, "forget-me");
    tokio::time::sleep(Duration::from_millis(500)).await;
    stage.discord.delete(OWNER_DM, &id);
    stage.discord.say(OWNER_DM, OWNER, "and then?");
    stage.discord.posted(OWNER_DM, 2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.discord.posts(OWNER_DM).len(), 2);
    let asked: String = stage
        .model
        .requests()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(!asked.contains("forget-me"), "the model was told of it");
}
