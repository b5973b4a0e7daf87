use super::{shown::QUICK, *};
use crate::{
    connectors::{ConnectorError, Resend},
    orchestrator::rig::{Rig, Wrong, later, lost, until},
    store::outbox,
    types::frame::CallStatus,
};

const PACE: Duration = Duration::from_millis(200);

fn tool(turn: TurnId, name: &str) -> Body {
    Body::ToolStarted {
        turn_id: turn,
        call_id: name.to_owned(),
        skill: name.to_owned(),
        input: serde_json::Value::Null,
    }
}

fn progress(turn: TurnId, name: &str, text: &str, progress: Option<f64>) -> Body {
    Body::ToolOutput {
        turn_id: turn,
        call_id: name.to_owned(),
        text: text.to_owned(),
        progress,
    }
}

fn text(turn: TurnId, text: &str) -> Body {
    Body::Text {
        turn_id: turn,
        text: text.to_owned(),
    }
}

fn show(view: &View) -> String {
    format!("{:?} [{}]", view.text(), view.status())
}

#[test]
fn a_draft_shows_what_is_said_and_done() {
    let turn = TurnId::new();
    let mut view = View::default();
    let mut seen = Vec::new();
    let finished = |name: &str| Body::ToolFinished {
        turn_id: turn,
        call_id: name.to_owned(),
        skill: name.to_owned(),
        status: CallStatus::Ok,
        output: serde_json::Value::Null,
        duration_ms: 1,
    };
    let steps = [
        text(turn, "I loo"),
        Body::Reset { turn_id: turn },
        text(turn, "I look.\n"),
        tool(turn, "look"),
        progress(turn, "look", "a line that a program printed", None),
        progress(turn, "look", "half\nof it", Some(0.5)),
        finished("look"),
        text(turn, "Found."),
        Body::Reset { turn_id: turn },
        text(turn, "Found it."),
        tool(turn, "pay"),
        asks(turn, "pay"),
    ];
    for step in steps {
        view.apply(&step);
        seen.push(show(&view));
    }
    insta::assert_snapshot!(seen.join("\n"), @r#"
    "I loo" []
    "" []
    "I look.\n" []
    "I look." [Running `look` …]
    "I look." [Running `look` …]
    "I look." [Running `look` (50 %, of it) …]
    "I look." []
    "I look.\n\nFound." []
    "I look." []
    "I look.\n\nFound it." []
    "I look.\n\nFound it." [Running `pay` …]
    "I look.\n\nFound it." [Waiting for a decision about `pay`]
    "#);
    assert!(view.rests());
    // What it keeps is bounded, whatever comes.
    for _ in 0..100_000 {
        view.apply(&text(turn, "ever longer 🦀 "));
    }
    assert!(view.text().len() <= 32 << 10);
    view.apply(&Body::Reset { turn_id: turn });
}

#[tokio::test]
async fn a_quick_answer_has_no_draft() {
    let rig = Rig::new(Resend::WithKey, PACE);
    let _tasks = rig.runs();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let turn = rig.turn("c").await;
    rig.says(&turn, "42");
    until("it types at once", || rig.platform.typed("c") == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    rig.answers(&turn, "42.").await;
    until("the answer is there", || rig.platform.texts() == ["42."]).await;
    tokio::time::sleep(QUICK).await;
    assert!(rig.platform.drafts("c").is_empty());
    assert_eq!(rig.platform.typed("c"), 1);
}

#[tokio::test]
async fn a_slow_answer_is_shown_at_a_pace_and_takes_the_place() {
    let rig = Rig::new(Resend::WithKey, PACE);
    let _tasks = rig.runs();
    let turn = rig.turn("c").await;
    for n in 0..150 {
        rig.says(&turn, &format!("{n} "));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until("all of it is shown", || {
        rig.platform
            .texts()
            .first()
            .is_some_and(|t| t.contains("149"))
    })
    .await;
    let drafts = rig.platform.drafts("c");
    assert!((3..=9).contains(&drafts.len()), "{}", drafts.len());
    for pair in drafts.windows(2) {
        let apart = pair[1].0.duration_since(pair[0].0);
        assert!(apart + Duration::from_millis(5) >= PACE, "{apart:?}");
        assert_eq!(pair[1].1.post.as_deref(), Some("0"));
        assert_eq!(pair[0].1.idempotency_key, turn.id.to_string());
    }
    rig.answers(&turn, "done\n---\nmore").await;
    until("the answer is where the draft was", || {
        rig.platform.texts() == ["done", "more"]
    })
    .await;
    let id = turn.id;
    let left = rig.core.parts.store.read(move |c| drafts::get(c, id));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(left.await.unwrap(), None);
}

#[tokio::test]
async fn what_was_missed_is_read_again() {
    let rig = Rig::new(Resend::WithKey, PACE);
    let _tasks = rig.runs();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let turn = rig.turn("c").await;
    let words: Vec<String> = (0..3000).map(|n| format!("{n} ")).collect();
    // More than the bus keeps for those who are behind, with nobody else at work meanwhile.
    for word in &words {
        rig.says(&turn, word);
    }
    until("all of it is shown", || {
        rig.platform.texts() == [format!("{}[]", words.concat())]
    })
    .await;
}

#[tokio::test]
async fn what_the_platform_asks_for_is_honoured_and_one_chat_does_not_hold_up_another() {
    let rig = Rig::new(Resend::WithKey, PACE);
    let _tasks = rig.runs();
    let wait = Duration::from_millis(600);
    rig.platform.breaks("slow", [Wrong::Fails(later(wait))]);
    rig.platform.breaks("stuck", [Wrong::Hangs]);
    let (slow, stuck, quick) = (
        rig.turn("slow").await,
        rig.turn("stuck").await,
        rig.turn("quick").await,
    );
    for turn in [&slow, &stuck, &quick] {
        rig.says(turn, "thinking");
    }
    until("the others are shown", || {
        rig.platform.drafts("quick").len() == 1 && rig.platform.drafts("slow").len() == 2
    })
    .await;
    let drafts = rig.platform.drafts("slow");
    let apart = drafts[1].0.duration_since(drafts[0].0);
    assert!(apart >= wait, "{apart:?}");
    assert_eq!(rig.platform.drafts("stuck").len(), 1);
    for n in 0..3 {
        rig.says(&quick, &format!(" {n}"));
        until("the next change is shown", || {
            rig.platform.drafts("quick").len() == n + 2
        })
        .await;
    }
}

#[tokio::test]
async fn after_a_kill_the_same_post_goes_on() {
    let rig = Rig::new(Resend::Marked, PACE);
    let tasks = rig.runs();
    let turn = rig.turn("c").await;
    rig.says(&turn, "before");
    until("it is shown", || rig.platform.texts() == ["before[]"]).await;
    let id = turn.id;
    let store = &rig.core.parts.store;
    while store.read(move |c| drafts::get(c, id)).await.unwrap()
        != Some(drafts::State::Open("0".to_owned()))
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(tasks);
    let _tasks = rig.runs();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Body::Started {
        turn_id: turn.id,
        message_id: turn.message,
        attempt: 2,
    };
    rig.happens(&turn, started);
    rig.happens(&turn, tool(turn.id, "look"));
    until("it goes on", || {
        rig.platform.texts() == ["[Running `look` …]"]
    })
    .await;
    rig.answers(&turn, "after").await;
    until("the answer is there", || rig.platform.texts() == ["after"]).await;
}

/// A draft whose first request is answered by nobody, then a kill; what is there when all is done.
async fn unknown(resend: Resend, goes_on: bool) -> Vec<String> {
    let rig = Rig::new(resend, PACE);
    rig.platform.breaks("c", [Wrong::Hangs]);
    let tasks = rig.runs();
    let turn = rig.turn("c").await;
    rig.says(&turn, "before");
    until("it is posted", || rig.platform.posts().len() == 1).await;
    drop(tasks);
    let _tasks = rig.runs();
    if goes_on {
        rig.says(&turn, " and after");
        tokio::time::sleep(QUICK + PACE + Duration::from_millis(500)).await;
    }
    rig.answers(&turn, "the answer").await;
    until("the answer is there", || {
        rig.platform.texts().iter().any(|text| text == "the answer")
    })
    .await;
    rig.platform.texts()
}

#[tokio::test]
async fn a_draft_of_unknown_fate_is_found_again_where_the_platform_lets_us() {
    for goes_on in [false, true] {
        for resend in [Resend::WithKey, Resend::ReadBack] {
            assert_eq!(unknown(resend, goes_on).await, ["the answer"], "{resend:?}");
        }
        // Nothing can tell: no second draft, and the answer is never lost.
        let texts = unknown(Resend::Marked, goes_on).await;
        assert_eq!(texts, ["before[]", "the answer"]);
    }
}

#[tokio::test]
async fn an_answer_waits_for_the_last_request_about_its_draft() {
    let rig = Rig::new(Resend::WithKey, PACE);
    let turn = rig.turn("c").await;
    rig.core
        .drafts
        .begin(turn.id)
        .map(std::mem::forget)
        .unwrap();
    let began = Instant::now();
    rig.answers(&turn, "the answer").await;
    let desk = &rig.core.drafts;
    let waits = timeout(
        Duration::from_millis(200),
        desk.ended(turn.id, Duration::from_secs(5)),
    );
    assert!(waits.await.is_err() && began.elapsed() >= Duration::from_millis(200));
    // One that hangs is stopped, and then it has ended.
    let other = TurnId::new();
    let flight = desk.begin(other).unwrap();
    assert!(desk.begin(other).is_none());
    let stops = async {
        flight.stop.cancelled().await;
        drop(flight);
    };
    tokio::join!(stops, desk.ended(other, Duration::from_millis(50)));
    assert!(desk.begin(other).is_some());
}

#[tokio::test]
async fn a_late_change_does_not_overwrite_the_answer() {
    let rig = Rig::new(Resend::WithKey, PACE);
    let _tasks = rig.runs();
    let turn = rig.turn("c").await;
    rig.says(&turn, "one");
    until("it is shown", || rig.platform.texts() == ["one[]"]).await;
    // The next change arrives, and its answer does not: the answer waits as long as it may.
    rig.platform.breaks("c", [Wrong::Hangs]);
    rig.says(&turn, " two");
    until("it is under way", || rig.platform.texts() == ["one two[]"]).await;
    let began = Instant::now();
    rig.answers(&turn, "the answer").await;
    until("the answer is there", || {
        rig.platform.texts() == ["the answer"]
    })
    .await;
    assert!(
        began.elapsed() >= Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_draft_whose_answer_does_not_come_says_so() {
    let rig = Rig::new(Resend::WithKey, PACE);
    let tasks = rig.runs();
    let turn = rig.turn("c").await;
    rig.says(&turn, "one");
    until("it is shown", || rig.platform.texts() == ["one[]"]).await;
    let refused = ConnectorError::Refused("not this".to_owned());
    rig.platform
        .breaks("c", [Wrong::Fails(refused), Wrong::Fails(lost())]);
    let id = rig.answers(&turn, "the answer").await;
    let store = &rig.core.parts.store;
    let began = Instant::now();
    while rig.parcel(id).await.state != "dead" {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(tasks);
    rig.platform.breaks("c", []);
    let _tasks = rig.runs();
    until("it says so", || rig.platform.texts()[0].contains("dropped")).await;
    let turn_id = turn.id;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        store.read(move |c| drafts::get(c, turn_id)).await.unwrap(),
        None
    );
    // Sent after all, it is a post of its own.
    let now = rig.core.parts.clock.now();
    assert!(rig.write(move |tx| outbox::release(tx, id, now)).await);
    rig.core.posted.notify_one();
    until("it is there", || {
        rig.platform.texts()[1..] == ["the answer"]
    })
    .await;
}

fn asks(turn: TurnId, name: &str) -> Body {
    Body::ApprovalRequested {
        turn_id: turn,
        call_id: name.to_owned(),
        approval: serde_json::Value::Null,
    }
}

#[tokio::test]
async fn a_question_that_waits_is_worth_no_draft_of_its_own() {
    let rig = Rig::new(Resend::WithKey, PACE);
    let _tasks = rig.runs();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let turn = rig.turn("c").await;
    rig.happens(&turn, tool(turn.id, "pay"));
    rig.happens(&turn, asks(turn.id, "pay"));
    tokio::time::sleep(QUICK * 2).await;
    assert!(rig.platform.drafts("c").is_empty());
    // A draft that is there says that it waits.
    let other = rig.turn("d").await;
    rig.says(&other, "I look.");
    until("it is shown", || !rig.platform.drafts("d").is_empty()).await;
    rig.happens(&other, tool(other.id, "pay"));
    rig.happens(&other, asks(other.id, "pay"));
    until("it says that it waits", || {
        let drafts = rig.platform.drafts("d");
        drafts
            .iter()
            .any(|(_, d)| d.status.starts_with("Waiting for a decision"))
    })
    .await;
}
