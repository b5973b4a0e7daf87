//! Messages that their senders change or delete.

use super::*;

fn owner(id: &str, text: &str) -> Inbound {
    says("ada", id, text, Admission::Operator)
}

/// Words that keep a turn busy.
fn slow() -> Act {
    Act::Slowly("word ".repeat(2000), Duration::from_millis(20))
}

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

/// Waits until the model was asked so often.
async fn asked(rig: &Rig, times: usize) {
    for _ in 0..1500 {
        if rig.model.requests().len() >= times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the model was asked {} times", rig.model.requests().len());
}

/// What was said in a session, and what became of it.
async fn states(rig: &Rig, session: SessionId) -> Vec<(String, String)> {
    let read = rig.read(move |c| {
        let all = store::messages::latest(c, session, None, 100)?.into_iter();
        let said = all.filter(|m| m.author == store::messages::Author::User);
        let with_state = said.map(|m| {
            let state = store::inbox::state(c, m.id)?;
            Ok((m.text, state.map(|(state, _)| state).unwrap_or_default()))
        });
        with_state.collect()
    });
    read.await
}

#[tokio::test]
async fn what_waits_is_changed_in_its_place() {
    let rig = Rig::start([slow(), say("done")]).await;
    let (_, session) = rig.hear(owner("1", "first")).await;
    asked(&rig, 1).await;
    let (second, _) = rig.hear(owner("2", "the wrong word")).await;
    for _ in 0..2 {
        rig.agent()
            .edited(owner("2", "the right word"))
            .await
            .unwrap();
    }
    // Somebody else's edit, and one of a message that never came, are nothing.
    let other = Inbound {
        user: "bob".to_owned(),
        ..owner("2", "mine now")
    };
    rig.agent().edited(other).await.unwrap();
    rig.agent().edited(owner("99", "unknown")).await.unwrap();
    let frames = rig.frames(session).await;
    let edited = frames.iter().filter(|f| {
        matches!(&f.body, crate::types::frame::Body::Edited { message_id, text, .. }
            if *message_id == second && text == "the right word")
    });
    assert_eq!(edited.count(), 1, "the same edit twice is one");
    rig.hear(owner("3", "/stop")).await;
    assert_eq!(states(&rig, session).await.len(), 3);
    let (_, found) = rig
        .api("GET", "/api/v1/sessions?q=right", Value::Null)
        .await;
    assert_eq!(
        found["sessions"].as_array().unwrap().len(),
        1,
        "words are found"
    );
    let (_, found) = rig
        .api("GET", "/api/v1/sessions?q=wrong", Value::Null)
        .await;
    assert_eq!(found["sessions"].as_array().unwrap().len(), 0);
    rig.daemon.stop().await;
}

#[tokio::test]
async fn what_is_being_answered_is_answered_anew_after_a_restart_too() {
    let rig = Rig::start([slow(), say("the answer")]).await;
    let (_, session) = rig.hear(owner("1", "seven times six")).await;
    asked(&rig, 1).await;
    rig.agent()
        .edited(owner("1", "seven times eight"))
        .await
        .unwrap();
    // The cut-off turn says that it stopped, the new one answers.
    assert_eq!(rig.answer("ada", 2).await, "the answer");
    assert!(rig.told("ada").await[0].contains("Stopped for your newer message"));
    let request = rig.asked();
    assert!(
        request.contains("this replaces an earlier message, “seven times six”"),
        "{request}"
    );
    let sent = rig.outbox().await;
    assert_eq!(
        sent[1].in_reply_to.as_deref(),
        Some("1"),
        "it replies to what was edited"
    );
    let rig = rig.restart().await;
    let all = states(&rig, session).await;
    assert_eq!(all[0].1, "cancelled");
    assert_eq!(
        all[1],
        ("seven times eight".to_owned(), "answered".to_owned())
    );
    // Answered: another edit is answered again; a redelivery of either is nothing.
    rig.agent()
        .edited(owner("1", "seven times nine"))
        .await
        .unwrap();
    rig.agent()
        .edited(owner("1", "seven times nine"))
        .await
        .unwrap();
    assert!(matches!(
        rig.accept(owner("1", "seven times six")).await,
        Ok(Accepted::Again(..))
    ));
    rig.answer("ada", 3).await;
    assert_eq!(states(&rig, session).await.len(), 3);
    rig.daemon.stop().await;
}

#[tokio::test]
async fn what_is_deleted_is_told_to_no_model() {
    let rig = Rig::start([slow(), say("second"), say("third")]).await;
    let (_, session) = rig.hear(owner("1", "my secret plan")).await;
    asked(&rig, 1).await;
    rig.hear(owner("2", "another secret plan")).await;
    let from = Address::new("chat", "bot", "ada");
    rig.agent().deleted(&from, "2", None).await.unwrap();
    rig.agent().deleted(&from, "1", None).await.unwrap();
    rig.agent().deleted(&from, "99", None).await.unwrap();
    assert!(rig.answer("ada", 1).await.contains("Stopped"));
    rig.hear(owner("3", "and now?")).await;
    assert_eq!(rig.answer("ada", 2).await, "second");
    let request = rig.asked();
    assert!(!request.contains("secret plan"), "{request}");
    assert!(request.contains("was deleted by its sender"), "{request}");
    let all = states(&rig, session).await;
    let states: Vec<&str> = all.iter().map(|(_, state)| state.as_str()).collect();
    assert_eq!(states, ["cancelled", "cancelled", "answered"]);
    let path = format!("/api/v1/sessions/{session}/messages");
    let (_, shown) = rig.api("GET", &path, Value::Null).await;
    assert!(shown["messages"][0]["deleted_at"].is_string(), "{shown}");
    // An answered one too, and what is remembered of conversations.
    rig.agent().deleted(&from, "3", None).await.unwrap();
    rig.hear(owner("4", "go on")).await;
    rig.answer("ada", 3).await;
    assert!(!rig.asked().contains("and now?"));
    rig.daemon.stop().await;
}

#[tokio::test]
async fn what_was_asked_together_is_answered_without_what_was_deleted() {
    let rig = Rig::start([slow(), slow(), say("the rest")]).await;
    let (_, session) = rig.hear(owner("0", "busy")).await;
    asked(&rig, 1).await;
    for id in ["1", "2", "3"] {
        rig.hear(owner(id, &format!("question {id}"))).await;
    }
    let interrupt = Inbound {
        mode: Some(crate::types::WhenBusy::Interrupt),
        ..owner("4", "question 4")
    };
    rig.hear(interrupt).await;
    asked(&rig, 2).await;
    let from = Address::new("chat", "bot", "ada");
    rig.agent().deleted(&from, "2", None).await.unwrap();
    // The first was stopped, the second too, the third answers what is left.
    assert_eq!(rig.answer("ada", 3).await, "the rest");
    let request = rig.asked();
    for (word, there) in [
        ("question 1", true),
        ("question 2", false),
        ("question 4", true),
    ] {
        assert_eq!(request.contains(word), there, "{word} in {request}");
    }
    let all = states(&rig, session).await;
    let states: Vec<&str> = all.iter().map(|(_, state)| state.as_str()).collect();
    assert_eq!(
        states,
        ["cancelled", "merged", "merged", "merged", "answered"]
    );
    rig.daemon.stop().await;
}

#[tokio::test]
async fn what_waits_and_becomes_a_stop_ends_what_runs() {
    let rig = Rig::start([slow(), say("never")]).await;
    let (_, session) = rig.hear(owner("1", "first")).await;
    asked(&rig, 1).await;
    rig.hear(owner("2", "secnd")).await;
    rig.agent().edited(owner("2", "/stop")).await.unwrap();
    assert!(rig.answer("ada", 2).await.contains("Nothing runs"));
    assert!(rig.told("ada").await[0].contains("*Stopped.*"));
    let all = states(&rig, session).await;
    assert_eq!(all[0], ("first".to_owned(), "cancelled".to_owned()));
    assert_eq!(rig.model.requests().len(), 1);
    rig.daemon.stop().await;
}
