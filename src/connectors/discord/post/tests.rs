use super::{
    find::{made_at, shows},
    *,
};
use crate::connectors::discord::wire::Message;
use crate::types::{ApprovalId, MessageId, SessionId};

fn outgoing(text: &str) -> Outgoing {
    Outgoing {
        idempotency_key: MessageId::new().to_string(),
        session: SessionId::new(),
        in_reply_to: Some("1300000000000000001".to_owned()),
        also_in_reply_to: Vec::new(),
        user: "7".to_owned(),
        text: text.to_owned(),
        files: Vec::new(),
        notice: false,
        aside: false,
        question: None,
        replaces: None,
        posted: Vec::new(),
        again: false,
        draft: None,
        follows: None,
    }
}

fn file(name: &str, size: usize) -> Attachment {
    Attachment {
        name: name.to_owned(),
        media_type: "text/plain".to_owned(),
        data: vec![b'x'; size],
    }
}

#[test]
fn a_nonce_belongs_to_one_part_of_one_answer() {
    let one = nonce("key", "0");
    assert_eq!(one, nonce("key", "0"));
    assert!(one.len() <= 25);
    assert_ne!(one, nonce("key", "1"));
    assert_ne!(one, nonce("yek", "0"));
}

#[test]
fn files_go_with_the_last_part_and_what_is_too_large_is_told() {
    let mut what = outgoing(&"word ".repeat(500));
    what.files = (0..11).map(|n| file(&format!("{n}.txt"), 10)).collect();
    what.files.push(file("big.iso", FILE + 1));
    let parts = parts(&what);
    let counts: Vec<usize> = parts.iter().map(|part| part.files.len()).collect();
    assert_eq!(counts, [0, 10, 1]);
    assert!(
        parts[1].text.contains("big.iso has 10 MB and was not sent"),
        "{}",
        parts[1].text
    );
    let what = Outgoing {
        files: vec![file("a", 1)],
        ..outgoing("")
    };
    assert_eq!(super::parts(&what).len(), 1, "a file alone is one message");
    assert_eq!(
        super::parts(&outgoing(" ")).len(),
        1,
        "an answer without words is told too"
    );
}

#[test]
fn a_question_has_its_buttons_on_its_last_part_and_loses_them_when_it_is_settled() {
    let question = Question {
        id: ApprovalId::new(),
        choices: vec!["once", "session", "always", "deny"],
    };
    let what = Outgoing {
        question: Some(question),
        ..outgoing(&"May I? ".repeat(400))
    };
    let parts = parts(&what);
    assert_eq!(parts.len(), 2);
    assert!(body(&parts[0])["components"].as_array().unwrap().is_empty());
    let row = &body(&parts[1])["components"][0]["components"];
    assert_eq!(row.as_array().unwrap().len(), 4);
    let settled = outgoing("Ada allowed it.");
    assert_eq!(body(&super::parts(&settled)[0])["components"], json!([]));
    assert_eq!(body(&super::parts(&settled)[0])["embeds"], json!([]));
}

#[test]
fn what_is_no_answer_of_a_model_stands_in_a_box() {
    let boxed = |what: Outgoing| {
        let body = body(&parts(&what)[0]);
        (
            body["content"] == "",
            body["embeds"][0]["description"] == "Words.",
        )
    };
    let aside = outgoing("Words.");
    let notice = outgoing("Words.");
    assert_eq!(
        boxed(Outgoing {
            aside: true,
            ..aside
        }),
        (true, true)
    );
    assert_eq!(
        boxed(Outgoing {
            notice: true,
            ..notice
        }),
        (true, true)
    );
    assert_eq!(boxed(outgoing("Words.")), (false, false));
}

#[test]
fn nobody_is_pinged_by_what_a_model_writes() {
    let part = Part {
        text: "@everyone <@7>".to_owned(),
        ..Part::default()
    };
    assert_eq!(body(&part)["allowed_mentions"], json!({ "parse": [] }));
}

#[test]
fn a_part_is_recognised_by_its_words_and_its_question() {
    let what = outgoing("Yes.");
    let part = &parts(&what)[0];
    let message = |content: &str, asked: Option<&str>| -> Message {
        let reference = asked.map(|id| json!({ "message_id": id }));
        let message = json!({ "id": "1300000000000000009", "channel_id": "5", "content": content, "message_reference": reference });
        serde_json::from_value(message).unwrap()
    };
    let asked = what.in_reply_to.as_deref();
    assert!(shows(&message("Yes.", asked), part, (&what, 0), None));
    assert!(
        shows(&message("Yes. ", None), part, (&what, 0), None),
        "the question may be gone"
    );
    assert!(
        !shows(
            &message("Yes.", Some("1300000000000000002")),
            part,
            (&what, 0),
            None
        ),
        "to another question"
    );
    assert!(!shows(&message("No.", asked), part, (&what, 0), None));
}

#[test]
fn a_draft_is_known_by_its_flag_whatever_it_says() {
    let what = outgoing("The whole answer.");
    let part = &parts(&what)[0];
    let asked = what.in_reply_to.as_deref();
    let made = made_at(&what.idempotency_key, 0);
    let id = (made.unwrap() + 1).to_string();
    let message = |id: &str, asked: Option<&str>, flags: u64| -> Message {
        let message = json!({ "id": id, "channel_id": "5", "content": "The who", "flags": flags, "message_reference": { "message_id": asked } });
        serde_json::from_value(message).unwrap()
    };
    assert!(shows(
        &message(&id, asked, NO_PREVIEWS),
        part,
        (&what, 0),
        made
    ));
    assert!(!shows(&message(&id, asked, 0), part, (&what, 0), made));
    assert!(!shows(
        &message(&id, Some("5"), NO_PREVIEWS),
        part,
        (&what, 0),
        made
    ));
    assert!(
        !shows(
            &message("1300000000000000009", asked, NO_PREVIEWS),
            part,
            (&what, 0),
            made
        ),
        "of an earlier turn"
    );
}

/// A key tells when it was made by this machine's clock, ids tell it by Discord's.
#[test]
fn the_time_of_a_key_bounds_where_is_looked() {
    const EPOCH: i64 = 1_420_070_400_000;
    let (key, now) = (
        MessageId::new().to_string(),
        crate::types::Clock::default().now().0 / 1000,
    );
    for ahead in [0, 3600, -3600] {
        let id = made_at(&key, ahead).unwrap();
        let millis = i64::try_from(id >> 22).unwrap() + EPOCH;
        let behind = now - ahead * 1000 - millis;
        assert!((119_000..180_000).contains(&behind), "{ahead}: {behind}");
    }
    assert_eq!(made_at("not a key", 0), None);
    assert_eq!(made_at(&key, i64::MAX), None);
}
