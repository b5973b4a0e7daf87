//! What happens while a turn runs: drafts, questions with buttons, edits, stops; and who may have any of it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{OWNER, with_model};
use crate::{
    approvals::{ASK, call, trust},
    support::{
        Daemon, eventually,
        model::{Act, Model},
        telegram::Fake,
        write_skill,
    },
};

const LEDGER: &str =
    "#!/bin/bash\necho \"$NEXFLOW_INPUT_WHAT\" >> ledger.txt\necho '{\"done\":true}'\n";
const LEDGER_HEAD: &str = "permissions: [shell, filesystem]\neffects: [changes_state]\ninput_schema: { type: object, properties: { what: { type: string } } }\n";

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

fn slowly(words: usize, pause: u64) -> Act {
    let text: Vec<String> = (0..words).map(|n| format!("word{n}")).collect();
    Act::Slowly(text.join(" "), Duration::from_millis(pause))
}

/// A daemon whose model asks for a skill that is asked about, for somebody who may decide or not.
async fn asking(lists: &str) -> (Fake, Model, Daemon) {
    let acts = [
        call("ledger", json!({ "what": "milk" })),
        say("It is written."),
    ];
    let (fake, model) = (Fake::start().await, Model::start(acts).await);
    let config = format!("{}{}{ASK}", fake.config(lists), model.config());
    let daemon = Daemon::with(&config).await;
    write_skill(
        daemon.folder.path(),
        "ledger",
        LEDGER_HEAD,
        ("run.sh", LEDGER),
    );
    trust(&daemon.owner(), "ledger").await;
    (fake, model, daemon)
}

/// The question in a chat.
async fn question(fake: &Fake, chat: i64) -> Value {
    let find = || {
        fake.posts(chat)
            .into_iter()
            .find(|p| p["reply_markup"].is_object())
    };
    eventually("the question was asked", || async { find().is_some() }).await;
    find().unwrap()
}

#[tokio::test]
async fn an_answer_is_shown_while_it_is_written() {
    let (fake, _model, _daemon) = with_model([slowly(40, 80)], OWNER).await;
    fake.say(7, "tell me");
    eventually("a draft is there", || async { !fake.posts(7).is_empty() }).await;
    let draft = fake.posts(7)[0]["message_id"].clone();
    let whole = fake.post_with(7, "word39").await;
    assert_eq!(
        whole["message_id"], draft,
        "the answer took the draft's place"
    );
    eventually("the answer is final", || async {
        fake.texts(7)[0].ends_with("word39")
    })
    .await;
    assert_eq!(fake.posts(7).len(), 1);
    assert!(!fake.calls("sendChatAction").is_empty());
    let edits = fake.calls("editMessageText");
    assert!(!edits.is_empty());
    // Far slower than the model writes.
    for pair in edits.windows(4) {
        assert!(
            pair[3].at - pair[0].at > Duration::from_secs(1),
            "edited too often"
        );
    }
    assert_eq!(fake.world().too_fast, 0);
}

#[tokio::test]
async fn without_drafts_only_the_answer_comes() {
    let (fake, _model, _daemon) =
        with_model([slowly(30, 50)], "operators: [7], drafts: false").await;
    fake.say(7, "tell me");
    fake.post_with(7, "word29").await;
    assert!(fake.calls("editMessageText").is_empty());
    assert_eq!(fake.posts(7).len(), 1);
}

#[tokio::test]
async fn a_question_is_decided_by_a_button_also_after_a_restart() {
    let (fake, _model, mut daemon) = asking("operators: [7], allowed_users: [8]").await;
    fake.say(7, "write milk");
    let asked = question(&fake, 7).await;
    let id = asked["message_id"].as_i64().unwrap();
    let labels: Vec<String> = asked["reply_markup"]["inline_keyboard"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|button| button["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(labels, ["Once", "This chat", "Always", "Deny"]);
    daemon.kill();
    daemon.launch().await;
    let press = fake.press(7, (7, id), "Once");
    assert!(!fake.answered(&press).await.is_empty());
    fake.post_with(7, "It is written.").await;
    // The buttons are gone, and it says what became of it.
    eventually("the question is settled", || async {
        let world = fake.world();
        world.messages[&(7, id)].get("reply_markup").is_none()
    })
    .await;
    // A late press is told so, and changes nothing.
    fake.world().messages.get_mut(&(7, id)).unwrap()["reply_markup"] =
        asked["reply_markup"].clone();
    let late = fake.press(7, (7, id), "Deny");
    let told = fake.answered(&late).await;
    assert!(!told.is_empty());
    fake.confirmed().await;
}

#[tokio::test]
async fn files_go_out_with_an_answer() {
    const PAINT: &str = "#!/bin/bash\nprintf '\\x89PNG\\r\\n' > cat.png\nprintf 'not a picture' > fake.png\necho two > notes.txt\necho '{}'\n";
    let send = |path: &str| ("send_file".to_owned(), json!({ "path": path }));
    let files = vec![send("cat.png"), send("fake.png"), send("notes.txt")];
    let acts = [
        call("paint", json!({})),
        Act::Call(files),
        say("Here they are."),
    ];
    let (fake, model) = (Fake::start().await, Model::start(acts).await);
    let daemon = Daemon::with(&format!("{}{}", fake.config(OWNER), model.config())).await;
    write_skill(
        daemon.folder.path(),
        "paint",
        "permissions: [shell, filesystem]\n",
        ("run.sh", PAINT),
    );
    trust(&daemon.owner(), "paint").await;
    fake.say(7, "paint");
    eventually("everything is there", || async { fake.posts(7).len() == 4 }).await;
    let posts = fake.posts(7);
    assert_eq!(posts[0]["text"], "Here they are.");
    // The files were asked for side by side, in any order.
    let photos = posts.iter().filter(|p| p["photo"].is_array());
    assert_eq!(photos.count(), 1, "{posts:?}");
    let named = |name: &str| {
        let post = posts.iter().find(|p| p["document"]["file_name"] == name);
        let id = post.unwrap()["message_id"].as_i64().unwrap();
        fake.world().uploads[&(7, id)].clone()
    };
    assert_eq!(named("notes.txt"), b"two\n");
    // What is no picture for Telegram goes as a document.
    assert_eq!(named("fake.png"), b"not a picture");
}

#[tokio::test]
async fn who_may_talk_may_not_thereby_decide() {
    let (fake, _model, daemon) = asking("operators: [7], allowed_users: [8]").await;
    fake.say(8, "write milk");
    eventually("it waits for the owner", || async {
        let waiting = daemon
            .owner()
            .get("/api/v1/approvals?state=pending")
            .await
            .ok();
        !waiting["approvals"].as_array().unwrap().is_empty()
    })
    .await;
    let waiting = daemon
        .owner()
        .get("/api/v1/approvals?state=pending")
        .await
        .ok();
    let id = waiting["approvals"][0]["id"]
        .as_str()
        .unwrap()
        .replace('-', "");
    let bytes: Vec<u8> = (0..16)
        .map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    // Even one who knows how the buttons are made.
    let data = format!("a:{}:once", URL_SAFE_NO_PAD.encode(bytes));
    for user in [8, 99] {
        let press = format!("forged-{user}");
        fake.world().callbacks.insert(press.clone(), None);
        let from = json!({ "id": user, "is_bot": false, "first_name": "Eve" });
        let message =
            json!({ "message_id": 1, "date": 0, "chat": { "id": user, "type": "private" } });
        fake.update(json!({ "callback_query": { "id": press, "from": from, "message": message, "data": data } }));
        assert!(!fake.answered(&press).await.is_empty());
    }
    let waiting = daemon
        .owner()
        .get("/api/v1/approvals?state=pending")
        .await
        .ok();
    assert_eq!(
        waiting["approvals"].as_array().unwrap().len(),
        1,
        "{waiting}"
    );
}

#[tokio::test]
async fn a_stranger_is_refused_then_paired() {
    let (fake, model, daemon) = with_model([say("welcome")], OWNER).await;
    let mut file = fake.file("plan.txt", b"a plan".to_vec());
    file["file_name"] = "plan.txt".into();
    fake.write(
        66,
        66,
        json!({ "document": file, "caption": "let me in, my secret plan" }),
    );
    eventually("the stranger was told", || async {
        !fake.posts(66).is_empty()
    })
    .await;
    let letter = fake.texts(66).join(" ");
    assert!(
        model.requests().is_empty(),
        "no model is asked for a stranger"
    );
    let code = letter
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| {
            word.len() == 8
                && word
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        })
        .unwrap_or_else(|| panic!("no code in {letter}"));
    daemon.cli_ok(&["user", "pair", code]).await;
    let fetched = fake.calls("getFile").len();
    assert_eq!(fetched, 0, "a stranger's file is left where it is");
    fake.write(66, 66, json!({ "document": file, "caption": "and now?" }));
    fake.post_with(66, "welcome").await;
    assert_eq!(fake.calls("getFile").len(), 1);
    assert!(!model.requests()[0].to_string().contains("my secret plan"));
    // In a group strangers are not spoken to.
    fake.write(-77, 67, json!({ "text": "/start@nex_test_bot" }));
    fake.confirmed().await;
    assert!(fake.posts(-77).is_empty());
}

#[tokio::test]
async fn an_edited_question_is_answered_as_it_stands() {
    let (fake, model, _daemon) = with_model([slowly(60, 100), say("to the new one")], OWNER).await;
    let id = fake.say(7, "what is 1 + 1?");
    eventually("the model was asked", || async {
        !model.requests().is_empty()
    })
    .await;
    fake.edit(7, id, "what is 2 + 2?");
    fake.post_with(7, "to the new one").await;
    let last = model.requests().last().unwrap().to_string();
    assert!(last.contains("2 + 2"), "{last}");
    fake.confirmed().await;
}

#[tokio::test]
async fn a_stop_ends_what_is_being_written() {
    let (fake, model, _daemon) = with_model([slowly(400, 100), say("next")], OWNER).await;
    fake.say(7, "a long one");
    eventually("a draft is there", || async { !fake.posts(7).is_empty() }).await;
    fake.say(7, "/stop");
    fake.confirmed().await;
    fake.say(7, "another");
    fake.post_with(7, "next").await;
    let shown = fake.texts(7).join(" ");
    assert!(!shown.contains("word399"), "{shown}");
    // It was stopped, not answered by another.
    assert!(
        shown.contains("Stopped.") && !shown.contains("newer"),
        "{shown}"
    );
    assert!(model.requests().len() >= 2);
}

#[tokio::test]
async fn commands_are_in_the_menu_and_answered() {
    let (fake, model, _daemon) = with_model([say("from the model")], OWNER).await;
    fake.say(7, "/help");
    eventually("help came", || async { !fake.posts(7).is_empty() }).await;
    assert!(model.requests().is_empty(), "a command needs no model");
    let menu = fake.world().commands.clone();
    let named = |name: &str| {
        menu.as_array()
            .unwrap()
            .iter()
            .any(|c| c["command"] == name)
    };
    for name in ["start", "new", "stop", "approve", "usage", "help"] {
        assert!(named(name), "{name} is not in {menu}");
    }
}
