//! What people say, and what they are answered.

use serde_json::{Value, json};

use super::{OWNER, with_model};
use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    telegram::{Fake, TOKEN},
};

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

/// What the model was told last by the person.
fn asked(model: &Model) -> String {
    let requests = model.requests();
    let messages = requests.last().unwrap()["messages"]
        .as_array()
        .unwrap()
        .clone();
    let last = messages.iter().rfind(|m| m["role"] == "user").unwrap();
    last["content"].to_string()
}

#[tokio::test]
async fn a_message_is_answered_in_its_chat_and_confirmed() {
    let (fake, model, daemon) = with_model([say("Good **morning**")], OWNER).await;
    let id = fake.say(7, "hello there");
    let post = fake.post_with(7, "Good").await;
    assert_eq!(post["text"], "Good morning");
    let bold = json!([{ "type": "bold", "offset": 5, "length": 7 }]);
    assert_eq!(post["entities"], bold);
    assert_eq!(post["reply_to_message"]["message_id"], id);
    assert!(asked(&model).contains("hello there"));
    fake.confirmed().await;
    // What the text names is not fetched by anybody.
    let sent = &fake.calls("sendMessage")[0].body;
    assert_eq!(sent["link_preview_options"]["is_disabled"], true);
    // Nothing that waited was thrown away, and nothing was taken before it was on disk.
    assert_eq!(fake.world().dropped, 0);
    let status = daemon.cli_ok(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert!(status.to_string().contains("telegram"), "{status}");
    assert!(!daemon.log().contains(TOKEN), "the token is in the log");
}

#[tokio::test]
async fn a_long_answer_comes_whole_in_parts_that_fit() {
    let lines: Vec<String> = (0..1500).map(|n| format!("line {n} 😀 of it")).collect();
    let (fake, _model, _daemon) = with_model([say(&lines.join("\n\n"))], OWNER).await;
    fake.say(7, "much");
    fake.post_with(7, "line 1499 ").await;
    let texts = fake.texts(7);
    assert!(texts.len() > 5, "{}", texts.len());
    let all = texts.join("\n");
    let mut at = 0;
    for line in &lines {
        let found = all[at..]
            .find(line)
            .unwrap_or_else(|| panic!("{line} is missing"));
        at += found + line.len();
    }
    assert_eq!(fake.world().too_fast, 0);
}

#[tokio::test]
async fn files_come_in_and_one_that_is_too_large_is_named() {
    let (fake, model, _daemon) = with_model([say("seen")], OWNER).await;
    let png = b"\x89PNG\r\n\x1a\n0000".to_vec();
    let small = fake.file("small.png", b"\x89PNGs".to_vec());
    let mut photo = fake.file("cat.png", png);
    photo["width"] = 2000.into();
    fake.write(
        7,
        7,
        json!({ "photo": [small, photo], "caption": "my cat" }),
    );
    fake.post_with(7, "seen").await;
    assert!(asked(&model).contains("my cat"), "{}", asked(&model));
    let large = fake.file("film.mp4", vec![0; (20 << 20) + 1]);
    let mut document = large;
    document["file_name"] = "film.mp4".into();
    fake.write(7, 7, json!({ "document": document, "caption": "my film" }));
    eventually("the second message was asked", || async {
        asked(&model).contains("my film")
    })
    .await;
    let told = asked(&model);
    assert!(
        told.contains("film.mp4") && told.contains("could not be fetched"),
        "{told}"
    );
}

#[tokio::test]
async fn an_album_is_one_message() {
    let (fake, model, daemon) = with_model([say("nice")], OWNER).await;
    let mut photos = Vec::new();
    for n in 0..3 {
        photos.push(fake.file(&format!("{n}.png"), format!("\u{89}PNG{n}").into_bytes()));
    }
    for (n, photo) in photos.iter().enumerate() {
        let mut fields = json!({ "photo": [photo], "media_group_id": "album-1" });
        if n == 0 {
            fields["caption"] = "the three of us".into();
        }
        fake.write(7, 7, fields);
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    }
    fake.post_with(7, "nice").await;
    fake.confirmed().await;
    assert_eq!(model.requests().len(), 1, "one turn");
    let sessions = daemon.owner().get("/api/v1/sessions").await.ok();
    let session = sessions["sessions"][0]["id"].as_str().unwrap().to_owned();
    let messages = daemon
        .owner()
        .get(&format!("/api/v1/sessions/{session}/messages"))
        .await
        .ok();
    let first = &messages["messages"][0];
    assert_eq!(
        first["attachments"].as_array().unwrap().len(),
        3,
        "{messages}"
    );
}

#[tokio::test]
async fn in_a_group_only_what_is_meant_for_the_bot_is_heard() {
    const GROUP: i64 = -1_001_234;
    const FORUM: i64 = -1_000_000_000_077;
    let lists = format!("operators: [7], allowed_chats: [{GROUP}, {FORUM}]");
    let (fake, model, _daemon) = with_model([say("yes?")], &lists).await;
    fake.write(GROUP, 8, json!({ "text": "just talking" }));
    fake.write(-999, 8, json!({ "text": "@nex_test_bot hi", "entities": [{ "type": "mention", "offset": 0, "length": 13 }] }));
    let mention = json!([{ "type": "mention", "offset": 0, "length": 13 }]);
    fake.write(
        GROUP,
        8,
        json!({ "text": "@nex_test_bot what now", "entities": mention }),
    );
    fake.post_with(GROUP, "yes?").await;
    fake.confirmed().await;
    assert_eq!(model.requests().len(), 1);
    assert!(!asked(&model).contains("just talking"));
    assert!(fake.posts(-999).is_empty());
    // A topic is answered in the topic.
    fake.world()
        .chats
        .entry(FORUM)
        .or_default()
        .threads
        .insert(5);
    let there =
        json!({ "text": "/status@nex_test_bot", "message_thread_id": 5, "is_topic_message": true });
    fake.write(FORUM, 7, there);
    eventually("the topic was answered", || async {
        !fake.posts(FORUM).is_empty()
    })
    .await;
    assert_eq!(fake.posts(FORUM)[0]["message_thread_id"], 5);
}

#[tokio::test]
async fn what_no_bot_understands_stops_nothing() {
    let (fake, model, _daemon) = with_model([say("still here")], OWNER).await;
    for garbage in [
        json!({ "message": 7 }),
        json!({ "message": { "message_id": "x" } }),
        json!({ "poll_answer": { "poll_id": "1" } }),
        json!({ "message": { "message_id": 9, "chat": { "id": 7, "type": "private" }, "date": 1 } }),
        json!({ "callback_query": { "id": "1", "from": { "id": 7 } } }),
        json!({ "callback_query": { "id": "2", "from": { "id": 7 }, "data": "a:x:once" } }),
        json!({ "something_new": null }),
    ] {
        fake.update(garbage);
    }
    fake.say(7, "hello");
    fake.post_with(7, "still here").await;
    fake.confirmed().await;
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn a_webhook_is_called_instead() {
    let fake = Fake::start().await;
    let model = Model::start([say("through the hook")]).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let hook = format!(
        "{OWNER}, webhook: {{ url: 'http://127.0.0.1:{port}/hooks/telegram', secret: the-secret-of-the-hook }}"
    );
    let config = format!(
        "server: {{ port: {port}, safe_mode_after: 0 }}\n{}{}",
        fake.config(&hook),
        model.config()
    );
    let daemon = Daemon::with(&config).await;
    fake.say(7, "hello");
    fake.post_with(7, "through the hook").await;
    fake.confirmed().await;
    assert!(fake.calls("getUpdates").is_empty());
    // Nobody else is taken for Telegram.
    let client = daemon.stranger();
    let update = json!({ "update_id": 1, "message": {} });
    for secret in ["", "wrong-secret"] {
        let request = client.request("POST", "/hooks/telegram").json(&update);
        let request = request.header("x-telegram-bot-api-secret-token", secret);
        assert_eq!(client.send(request).await.status, 401, "{secret:?}");
    }
    assert_eq!(model.requests().len(), 1);
}
