//! Bursts, and any text at all.

use std::{collections::BTreeMap, time::Duration};

use super::{OWNER, with_model};
use crate::support::{
    model::{Act, echo},
    telegram::Fake,
};

/// How often each message was answered, by chat and in the order of the posts.
fn answers(fake: &Fake, chats: impl IntoIterator<Item = i64>) -> BTreeMap<i64, Vec<String>> {
    let words = |chat: i64| {
        let texts = fake.texts(chat);
        let names = texts
            .iter()
            .flat_map(|t| t.split_whitespace())
            .map(str::to_owned);
        names.filter(|word| word.starts_with("msg")).collect()
    };
    chats.into_iter().map(|chat| (chat, words(chat))).collect()
}

async fn all_answered(fake: &Fake, chats: std::ops::Range<i64>, wanted: usize, patience: Duration) {
    let began = std::time::Instant::now();
    loop {
        let there: usize = answers(fake, chats.clone()).values().map(Vec::len).sum();
        if there >= wanted {
            return;
        }
        assert!(
            began.elapsed() < patience,
            "{there} of {wanted} were answered"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_updates_are_answered_in_order() {
    const CHATS: i64 = 50;
    let people: Vec<String> = (1000..1000 + CHATS).map(|n| n.to_string()).collect();
    let lists = format!("allowed_users: [{}]", people.join(", "));
    let (fake, _model, daemon) = with_model([Act::Think(echo)], &lists).await;
    for n in 0..20 {
        for chat in 1000..1000 + CHATS {
            fake.say(chat, &format!("msg{n:02}"));
        }
    }
    let began = std::time::Instant::now();
    while !fake.world().updates.is_empty() {
        assert!(began.elapsed() < Duration::from_mins(1));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eprintln!("1,000 updates were accepted in {:.1?}", began.elapsed());
    all_answered(&fake, 1000..1000 + CHATS, 1000, Duration::from_mins(4)).await;
    let wanted: Vec<String> = (0..20).map(|n| format!("msg{n:02}")).collect();
    for (chat, got) in answers(&fake, 1000..1000 + CHATS) {
        assert_eq!(got, wanted, "in chat {chat}");
    }
    fake.confirmed().await;
    assert_eq!(fake.world().dropped, 0);
    assert!(!daemon.log().contains("panicked"));
}

/// What models write when they go wrong, whole: a word of each, as often as it was written.
#[tokio::test]
async fn any_text_arrives_whole() {
    let samples = [
        ("```rust\nfn never_closed() {\n".repeat(300), "never_closed", 300),
        ("- a\n  - b\n    - c\n      1. deep 😀\n".repeat(300), "deep 😀", 300),
        (format!("| a | b |\n|---|---|\n{}", "| 𝔘𝔫𝔦 | שלום |\n".repeat(300)), "שלום", 300),
        ("**bold _both** it_ [link](javascript:alert(1)) [l](http://e.org/?a=b)\u{7}\u{0}\u{200f} x\r\n".repeat(60), "both", 60),
        ("word ".repeat(8000), "word", 8000),
        ("😀".repeat(9000), "😀", 9000),
    ];
    let acts: Vec<Act> = samples
        .iter()
        .map(|(text, ..)| Act::Say(text.clone()))
        .collect();
    let (fake, _model, daemon) = with_model(acts, OWNER).await;
    for (n, (_, word, times)) in samples.iter().enumerate() {
        let before = fake.posts(7).len();
        fake.say(7, &format!("number {n}"));
        let began = std::time::Instant::now();
        loop {
            let outbox = daemon.owner().get("/api/v1/outbox?all=true").await.ok();
            let rows = outbox["outbox"].as_array().unwrap();
            if rows.len() == n + 1 && rows.iter().all(|row| row["state"] == "delivered") {
                break;
            }
            assert!(
                began.elapsed() < Duration::from_mins(2),
                "sample {n}: {outbox}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let shown = fake.texts(7).split_off(before).join("\n");
        assert_eq!(shown.matches(word).count(), *times, "sample {n}");
    }
    for post in fake.posts(7) {
        assert!(post["text"].as_str().unwrap().encode_utf16().count() <= 4096);
    }
    // Nothing was refused for its entities and sent again without.
    assert_eq!(fake.calls("sendMessage").len(), fake.posts(7).len());
}
