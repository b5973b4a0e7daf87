//! Strangers, people who were let in, and buttons.

use super::*;
use crate::store::{approvals, users};

fn stranger(id: &str, text: &str) -> Inbound {
    says("eve", id, text, Admission::Unlisted)
}

/// The code in a letter.
fn code(letter: &str) -> String {
    letter.split('`').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_stranger_gets_one_code_and_is_let_in_by_it() {
    let rig = Rig::start([Act::Say("Welcome.".to_owned())]).await;
    for id in ["1", "2"] {
        let refused = rig.accept(stranger(id, "the secret text")).await;
        assert!(matches!(refused, Err(AcceptError::Stranger)), "{refused:?}");
    }
    let letters = rig.told("eve").await;
    assert_eq!(letters.len(), 1, "no second letter within ten minutes");
    let code = code(&letters[0]);
    // Nothing of it is kept, no list shows it, no model saw it.
    let kept = rig.read(|c| {
        let found = "SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM messages)
                            + (SELECT count(*) FROM users WHERE channel = 'chat')";
        Ok(c.query_row(found, [], |row| row.get::<_, i64>(0))?)
    });
    assert_eq!(kept.await, 0);
    assert_eq!(rig.model.requests().len(), 0);
    let (_, sessions) = rig.api("GET", "/api/v1/sessions", Value::Null).await;
    assert_eq!(sessions["sessions"], json!([]));
    let (_, waiting) = rig.api("GET", "/api/v1/pairings", Value::Null).await;
    assert_eq!(waiting["pairings"][0]["name"], "eve by name");
    assert!(!waiting.to_string().contains(&code), "{waiting}");
    let hashes = rig.read(|c| {
        let sql = "SELECT code_hash FROM pairings";
        Ok(c.query_row(sql, [], |row| row.get::<_, Vec<u8>>(0))?)
    });
    assert_eq!(hashes.await.len(), 32);

    let (status, _) = rig
        .api("POST", "/api/v1/pairings", json!({ "code": "AAAA" }))
        .await;
    assert_eq!(status, 404);
    let given = json!({ "code": code.to_lowercase() });
    let (status, answer) = rig.api("POST", "/api/v1/pairings", given.clone()).await;
    assert_eq!(
        (status, answer["user"]["role"].as_str()),
        (200, Some("member"))
    );
    let (status, _) = rig.api("POST", "/api/v1/pairings", given).await;
    assert_eq!(status, 404, "a code is good once");
    assert!(rig.answer("eve", 2).await.starts_with("You are let in"));
    assert!(!rig.told("eve").await.join(" ").contains(&code));

    rig.hear(stranger("3", "hello")).await;
    assert_eq!(rig.answer("eve", 3).await, "Welcome.");
    assert!(!rig.asked().contains("the secret text"));
    let deeds = rig.deeds().await;
    for deed in [
        "pairing.ask",
        "pairing.wrong",
        "pairing.approve",
        "user.role",
    ] {
        assert!(deeds.iter().any(|d| d == deed), "{deed} in {deeds:?}");
    }

    // What the owner takes back is gone with the next message.
    let (_, users) = rig.api("GET", "/api/v1/users", Value::Null).await;
    let eve = users["users"].as_array().unwrap().iter();
    let eve = eve.clone().find(|u| u["channel"] == "chat").unwrap()["id"].clone();
    let path = format!("/api/v1/users/{}", eve.as_str().unwrap());
    assert_eq!(rig.api("DELETE", &path, Value::Null).await.0, 204);
    assert!(rig.accept(stranger("4", "still here?")).await.is_err());
    rig.daemon.stop().await;
}

#[tokio::test]
async fn three_wait_at_most_and_rooms_get_no_codes() {
    let rig = Rig::start([]).await;
    let room = says_in_room("eve", "r", "hello room", Admission::Unlisted);
    assert!(rig.accept(room).await.is_err());
    assert_eq!(rig.outbox().await.len(), 0);
    for user in ["a", "b", "c", "d"] {
        let message = says(user, user, "hello", Admission::Unlisted);
        assert!(rig.accept(message).await.is_err());
    }
    assert_eq!(rig.outbox().await.len(), 3);
    // One who is turned away is not heard, and makes room for another.
    let (_, waiting) = rig.api("GET", "/api/v1/pairings", Value::Null).await;
    let deny = json!({ "id": waiting["pairings"][0]["id"], "decision": "deny" });
    assert_eq!(rig.api("POST", "/api/v1/pairings", deny).await.0, 200);
    for user in ["a", "d"] {
        let id = format!("{user}-again");
        let message = says(user, &id, "hello", Admission::Unlisted);
        assert!(rig.accept(message).await.is_err());
    }
    assert_eq!(rig.told("a").await, ["(a code to be let in)"]);
    assert_eq!(rig.told("d").await.len(), 1);
    rig.daemon.stop().await;
}

#[tokio::test]
async fn rights_follow_the_lists_message_by_message() {
    let rig = Rig::start([]).await;
    let role = async |admission| {
        let id = uuid::Uuid::now_v7().to_string();
        let taken = rig.accept(says("ada", &id, "hello", admission)).await;
        let found = rig.read(|c| {
            let owner = users::find_owner(c)?.map(|owner| owner.id);
            let all = users::list(c)?.into_iter();
            let ada = all.clone().find(|one| one.channel == "chat");
            Ok(ada.map(|one| (one.role.as_str(), Some(one.person_id) == owner)))
        });
        (taken.is_ok(), found.await)
    };
    assert_eq!(
        role(Admission::Operator).await,
        (true, Some(("owner", true)))
    );
    assert_eq!(
        role(Admission::Listed).await,
        (true, Some(("member", false)))
    );
    assert_eq!(
        role(Admission::Operator).await,
        (true, Some(("owner", true)))
    );
    assert_eq!(role(Admission::Unlisted).await, (false, None));
    assert_eq!(
        role(Admission::Listed).await,
        (true, Some(("member", false)))
    );
    // "That is me" in the owner's word.
    let (_, users) = rig.api("GET", "/api/v1/users", Value::Null).await;
    let ada = users["users"]
        .as_array()
        .unwrap()
        .iter()
        .find(|u| u["channel"] == "chat");
    let path = format!("/api/v1/users/{}", ada.unwrap()["id"].as_str().unwrap());
    let (status, _) = rig.api("PATCH", &path, json!({ "role": "owner" })).await;
    assert_eq!(status, 200);
    assert_eq!(
        role(Admission::Unlisted).await,
        (true, Some(("owner", true)))
    );
    let own = users["users"]
        .as_array()
        .unwrap()
        .iter()
        .find(|u| u["channel"] == "local");
    let path = format!("/api/v1/users/{}", own.unwrap()["id"].as_str().unwrap());
    let (status, _) = rig.api("PATCH", &path, json!({ "role": "viewer" })).await;
    assert_eq!(status, 422, "nobody locks the owner out");
    rig.daemon.stop().await;
}

fn press(user: &str, admission: Admission, question: ApprovalId) -> Press {
    Press {
        from: Address::new("chat", "bot", "room"),
        user: user.to_owned(),
        name: format!("{user} by name"),
        admission,
        question,
        choice: "once".to_owned(),
    }
}

/// A question that somebody's message in a room led to.
async fn question(rig: &Rig, user: &str, id: &str) -> ApprovalId {
    let message = says_in_room(user, id, "remember that tea is hot", Admission::Listed);
    let (_, session) = rig.hear(message).await;
    for _ in 0..1500 {
        let wanted = approvals::Wanted {
            session: Some(session),
            pending: true,
            limit: 1,
            ..approvals::Wanted::default()
        };
        let found = rig.read(move |c| approvals::list(c, &wanted)).await;
        if let Some(found) = found.first() {
            return found.id;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing was asked: {:?}", rig.outbox().await);
}

#[tokio::test]
async fn who_may_talk_may_not_thereby_decide() {
    let call = || {
        Act::Call(vec![(
            "remind".to_owned(),
            json!({ "when": "in 1 hour", "text": "tea" }),
        )])
    };
    let done = || Act::Say("done".to_owned());
    let rule = |who: &str| format!("approvals: {{ default: ask, who: {who} }}\n");
    let rig = Rig::with(&rule("owner"), [call(), done()]).await;
    let asked = question(&rig, "ada", "1").await;
    for (user, admission) in [
        ("eve", Admission::Unlisted),
        ("bob", Admission::Listed),
        ("ada", Admission::Listed),
    ] {
        let refused = rig.agent().pressed(press(user, admission, asked)).await;
        assert!(
            matches!(refused, Err(PressError::Refused(_))),
            "{user}: {refused:?}"
        );
    }
    let by = press("me", Admission::Operator, asked);
    let said = rig.agent().pressed(by.clone()).await.unwrap();
    assert!(said.starts_with("Approved once: "), "{said}");
    assert_eq!(rig.answer("room", 1).await, "done");
    let late = rig.agent().pressed(by).await.unwrap_err();
    assert!(
        late.to_string().contains("approved by me by name"),
        "{late}"
    );
    let decided = rig.read(move |c| approvals::get(c, asked)).await.unwrap();
    assert_eq!(decided.decided_via.as_deref(), Some("chat"));
    rig.daemon.stop().await;

    let rig = Rig::with(&rule("asker"), [call(), done()]).await;
    let asked = question(&rig, "ada", "1").await;
    let other = press("bob", Admission::Listed, asked);
    assert!(rig.agent().pressed(other).await.is_err());
    let own = press("ada", Admission::Listed, asked);
    assert!(rig.agent().pressed(own).await.is_ok());
    rig.daemon.stop().await;
}
