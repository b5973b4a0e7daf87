//! Stops and starts: with grace, at once, and in a loop.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    string,
};

fn slowly(words: usize) -> Act {
    Act::Slowly("word ".repeat(words), Duration::from_millis(50))
}

#[tokio::test]
async fn a_turn_ends_before_the_daemon_does_and_nothing_new_is_taken() {
    let model = Model::start([slowly(40)]).await;
    let mut daemon = Daemon::with(&model.config()).await;
    let (owner, stranger) = (daemon.owner(), daemon.stranger());
    let asked = async {
        let body = json!({ "message": "speak" });
        owner.post("/api/v1/chat", body).await
    };
    let stopped = async {
        eventually("the model was asked", || async {
            !model.requests().is_empty()
        })
        .await;
        tokio::join!(daemon.stop(), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let refused = stranger.get("/api/v1/sessions").await;
            assert_eq!(
                (refused.status, refused.error().as_str()),
                (503, "STOPPING")
            );
            assert!(refused.headers.contains_key("retry-after"));
        });
    };
    let (answer, ()) = tokio::join!(asked, stopped);
    assert_eq!(answer.ok()["status"], "ok");
}

#[tokio::test]
async fn a_turn_that_takes_too_long_is_put_down_and_taken_up_again() {
    let model = Model::start([slowly(200), Act::Say("at last".to_owned())]).await;
    let config = format!(
        "server: {{ port: 0, stop_timeout_sec: 2 }}\n{}",
        model.config()
    );
    let mut daemon = Daemon::with(&config).await;
    let owner = daemon.owner();
    let asked = async {
        let body = json!({ "message": "speak" });
        owner.post("/api/v1/chat", body).await
    };
    let stopped = async {
        eventually("the model was asked", || async {
            !model.requests().is_empty()
        })
        .await;
        let began = Instant::now();
        daemon.stop().await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    };
    let (refused, ()) = tokio::join!(asked, stopped);
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (503, "STOPPING")
    );
    daemon.launch().await;
    eventually("it is answered", || async {
        let all = daemon.owner().get("/api/v1/sessions").await.ok();
        string(&all["sessions"][0], "preview") == "at last"
    })
    .await;
}

#[tokio::test]
async fn who_asks_twice_does_not_wait() {
    let model = Model::start([slowly(400)]).await;
    let mut daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("speak", "c1").await;
    page.until("text.delta").await;
    let began = Instant::now();
    daemon.signal();
    tokio::time::sleep(Duration::from_millis(300)).await;
    daemon.stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_crash_loop_ends_in_safe_mode_which_a_person_ends() {
    let model = Model::start([Act::Say("back again".to_owned())]).await;
    let config = format!("server: {{ port: 0 }}\n{}", model.config());
    let mut daemon = Daemon::with(&config).await;
    for _ in 0..3 {
        daemon.kill();
        daemon.launch().await;
    }
    assert!(
        !daemon
            .stranger()
            .get("/ready")
            .await
            .body
            .contains("safe_mode")
    );
    daemon.kill();
    daemon.launch().await;
    let ready = daemon.stranger().get("/ready").await;
    assert_eq!(ready.status, 200, "messages are taken");
    assert!(string(&ready.json()["checks"], "safe_mode").contains("nexflow resume"));
    let status = daemon.cli_ok(&["status"]).await;
    assert!(status.contains("nexflow resume"), "{status}");
    let doctor = daemon.cli(&["doctor"]).await;
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.contains("nexflow resume"), "{doctor}");
    let mut page = daemon.socket("new", None).await;
    page.say("are you there?", "c1").await;
    page.until("message.accepted").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(model.requests().is_empty(), "no turn begins");
    let said = daemon.cli_ok(&["resume"]).await;
    assert!(said.contains("answered again"), "{said}");
    assert_eq!(page.until("message.completed").await["text"], "back again");
    // The earlier crashes count for nothing any more.
    daemon.kill();
    daemon.launch().await;
    assert!(
        !daemon
            .stranger()
            .get("/ready")
            .await
            .body
            .contains("safe_mode")
    );
}
