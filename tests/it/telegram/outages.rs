//! Networks that are cut and clocks that are wrong: what the owner is told, and that it mends itself.
//!
//! `NEXFLOW_TELEGRAM_CUT_SEC` says how long a cut lasts beyond being noticed (1; 600 was tried).

use std::time::{Duration, Instant};

use super::{OWNER, doctor, stands, until, with_model};
use crate::support::{eventually, model::Act, telegram::proxy::State};

/// After this it is back at the latest, however long the cut was.
const BACK: Duration = Duration::from_secs(90);

#[expect(clippy::disallowed_methods, reason = "how long is for who runs it")]
fn long() -> Duration {
    let wanted = std::env::var("NEXFLOW_TELEGRAM_CUT_SEC");
    Duration::from_secs(wanted.ok().and_then(|n| n.parse().ok()).unwrap_or(1))
}

/// A cut while an answer is on its way and somebody writes: all of it is told, and nothing is lost.
async fn cut(how: State, words: &str) {
    let say = |text: &str| Act::Say(text.to_owned());
    let late = Act::Slowly("two it is".to_owned(), Duration::from_millis(150));
    let (fake, model, daemon) = with_model([say("one"), late, say("three")], OWNER).await;
    fake.say(7, "first");
    fake.post_with(7, "one").await;
    let process = daemon.pid();
    fake.say(7, "second");
    eventually("the model is asked", || async {
        model.requests().len() == 2
    })
    .await;
    fake.wire.set(how);
    until(&daemon, "failing").await;
    // The poll that was under way is told first.
    eventually("it is told why", || async {
        stands(&daemon).await.1.contains(words)
    })
    .await;
    let (told, well) = doctor(&daemon).await;
    assert!(
        !well && told.contains(&format!("connector telegram: failing: {words}")),
        "{told}"
    );
    assert!(told.contains("last heard"), "{told}");
    // The page reads the same.
    let status = daemon.owner().get("/api/v1/status").await.ok();
    let connectors = status["connectors"].as_array().unwrap();
    let one = connectors.iter().find(|c| c["name"] == "telegram").unwrap();
    assert_eq!(one["state"], "failing");
    assert!(one["heard_at"].is_string() && one["detail"].as_str().unwrap().contains(words));
    fake.say(7, "third");
    tokio::time::sleep(long()).await;
    fake.wire.set(State::Whole);
    let back = Instant::now();
    while fake.texts(7).last().is_none_or(|text| text != "three") {
        assert!(back.elapsed() < BACK, "{:?}", fake.texts(7));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!(
        "{how:?} for {:?}: everything was there {:.1?} after it ended",
        long(),
        back.elapsed()
    );
    assert!(until(&daemon, "ok").await.is_empty());
    assert!(doctor(&daemon).await.1);
    assert_eq!(fake.texts(7), ["one", "two it is", "three"]);
    assert_eq!(daemon.pid(), process);
    assert_eq!(fake.world().dropped, 0);
}

#[tokio::test]
async fn a_refused_connection_is_told_and_nothing_is_lost() {
    cut(State::Refused, "Telegram cannot be reached: ").await;
}

#[tokio::test]
async fn a_closed_connection_is_told_and_nothing_is_lost() {
    cut(State::Cut, "Telegram did not answer: ").await;
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_noticed_and_nothing_is_lost() {
    cut(State::Deaf, "Telegram did not answer: it took too long").await;
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_told_and_disturbs_nothing() {
    // Telegram's answers and messages are an hour from now, or an hour old.
    for (ahead, words) in [(3630, "60 minutes behind"), (-3630, "60 minutes ahead of")] {
        let (fake, _model, daemon) = with_model([Act::Say("in time".to_owned())], OWNER).await;
        fake.world().ahead = ahead;
        fake.say(7, "are you there?");
        fake.post_with(7, "in time").await;
        let told = || async { doctor(&daemon).await.0 };
        let words = format!("This machine's clock is {words} Telegram's");
        eventually("doctor tells it", || async {
            told().await.contains(&words)
        })
        .await;
        let status = daemon.owner().get("/api/v1/status").await.ok();
        assert!(status["warnings"].to_string().contains(&words), "{status}");
        assert!(
            until(&daemon, "ok").await.is_empty(),
            "it listens all the same"
        );
        assert_eq!(fake.world().too_fast, 0);
        fake.world().ahead = 0;
        eventually("it is right again", || async {
            !told().await.contains("clock")
        })
        .await;
    }
}
