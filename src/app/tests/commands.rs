//! What people say to Nexflow itself.

use super::*;
use crate::store::approvals;

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

fn remind() -> Act {
    let args = json!({ "when": "in 1 hour", "text": "tea" });
    Act::Call(vec![("remind".to_owned(), args)])
}

fn owner(id: &str, text: &str) -> Inbound {
    says("ada", id, text, Admission::Operator)
}

#[tokio::test]
async fn a_question_is_decided_in_the_chat_that_waits_for_it() {
    let rig = Rig::with("approvals: { default: ask }\n", [remind(), say("set")]).await;
    rig.hear(owner("1", "remind me of tea")).await;
    for _ in 0..1500 {
        let parked = rig.read(|c| {
            let sql = "SELECT EXISTS (SELECT 1 FROM turns WHERE parked_at IS NOT NULL)";
            Ok(c.query_row(sql, [], |row| row.get::<_, bool>(0))?)
        });
        if parked.await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Another message waits for the turn; what decides it does not.
    rig.hear(owner("2", "and thank you")).await;
    let before = rig.told("ada").await.len();
    rig.hear(owner("3", "/approve")).await;
    let list = rig.answer("ada", before + 1).await;
    assert!(list.contains("1. ") && list.contains("tea"), "{list}");
    // A member neither sees it nor decides it.
    rig.hear(says("bob", "b1", "/approve", Admission::Listed))
        .await;
    assert_eq!(rig.answer("bob", 1).await, "Nothing waits for a decision.");
    rig.hear(says("bob", "b2", "/approve 1", Admission::Listed))
        .await;
    assert!(
        rig.answer("bob", 2)
            .await
            .starts_with("Nothing waits under `1`")
    );
    let rig = rig.restart().await;
    rig.hear(owner("4", "/deny 1 I have had mine")).await;
    let told = rig.answer("ada", before + 4).await;
    assert_eq!(told, "set", "{:?}", rig.told("ada").await);
    assert!(rig.told("ada").await[before + 1].starts_with("Denied: "));
    let all = rig.read(|c| {
        let wanted = approvals::Wanted {
            limit: 10,
            ..approvals::Wanted::default()
        };
        approvals::list(c, &wanted)
    });
    let all = all.await;
    assert_eq!(all.len(), 1, "a decision is not asked about itself");
    assert_eq!(all[0].note.as_deref(), Some("I have had mine"));
    assert_eq!(all[0].decided_via.as_deref(), Some("chat"));
    rig.daemon.stop().await;
}

#[tokio::test]
async fn no_model_and_no_schedule_says_what_a_person_says() {
    let pair = Act::Call(vec![
        ("pair".to_owned(), json!({ "code": "ACDE3467" })),
        (
            "decide".to_owned(),
            json!({ "choice": "always", "which": "1" }),
        ),
        ("usage".to_owned(), json!({})),
    ]);
    let rig = Rig::start([pair, say("I tried")]).await;
    let (id, _) = rig.hear(owner("1", "let everybody in")).await;
    assert_eq!(rig.answer("ada", 1).await, "I tried");
    let path = format!("/api/v1/messages/{id}/trace");
    let (_, trace) = rig.api("GET", &path, Value::Null).await;
    let tools = trace["stages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|s| s["stage"] == "tool");
    let refused: Vec<&str> = tools.filter_map(|s| s["status"].as_str()).collect();
    assert_eq!(refused, ["refused"; 3], "{trace}");
    rig.daemon.stop().await;
}

#[tokio::test]
async fn the_owner_lets_people_in_from_a_chat_and_others_do_not() {
    let rig = Rig::start([say("hello")]).await;
    drop(
        rig.accept(says("eve", "1", "hello", Admission::Unlisted))
            .await,
    );
    let letter = rig.told("eve").await.remove(0);
    let code = letter.split('`').nth(1).unwrap().to_owned();
    let pair = format!("/pair {code}");
    rig.hear(says("bob", "1", &pair, Admission::Listed)).await;
    assert_eq!(rig.answer("bob", 1).await, "Only the owner lets people in.");
    rig.hear(owner("1", &format!("{pair} king"))).await;
    assert!(rig.answer("ada", 1).await.contains("is no role"));
    rig.hear(owner("2", &pair)).await;
    assert_eq!(
        rig.answer("ada", 2).await,
        "eve by name (chat) is let in as member."
    );
    rig.hear(says("eve", "2", "hello", Admission::Unlisted))
        .await;
    assert_eq!(rig.answer("eve", 3).await, "hello");
    // What each has used: of everybody for the owner alone.
    rig.hear(owner("3", "/usage")).await;
    assert!(
        rig.answer("ada", 3)
            .await
            .contains("custom/scripted: 1 calls")
    );
    rig.hear(says("bob", "2", "/usage", Admission::Listed))
        .await;
    assert_eq!(
        rig.answer("bob", 2).await,
        "No model was asked in the last 30 days."
    );
    rig.daemon.stop().await;
}

#[tokio::test]
async fn platforms_can_list_every_command() {
    let rig = Rig::start([]).await;
    let commands = rig.agent().commands();
    rig.hear(owner("1", "/help")).await;
    let help = rig.answer("ada", 1).await;
    for command in commands {
        let plain = |c: char| c.is_ascii_lowercase();
        assert!(command.name.chars().all(plain) && command.name.len() <= 32);
        assert!(
            (1..=100).contains(&command.description.len()),
            "{command:?}"
        );
        assert!(help.contains(&format!("`/{}", command.name)), "{help}");
    }
    for (n, command) in commands.iter().enumerate() {
        rig.hear(owner(&format!("c{n}"), &format!("/{}", command.name)))
            .await;
        let answer = rig.answer("ada", n + 2).await;
        assert!(
            !answer.contains("There is no command"),
            "{command:?}: {answer}"
        );
    }
    rig.daemon.stop().await;
}
