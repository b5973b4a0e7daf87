//! The outbox: what is not known to have arrived, what is too old, what the owner decides.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    support::{
        Daemon, eventually,
        model::{Act, Model},
        string,
    },
    webhook::{hook_config, post_hook, receiver},
};

async fn outbox(daemon: &Daemon) -> Vec<Value> {
    let all = daemon.owner().get("/api/v1/outbox?all=true").await.ok();
    all["outbox"].as_array().unwrap().clone()
}

fn message(id: &str, text: &str) -> Value {
    json!({ "id": id, "user": "ada", "text": text })
}

#[tokio::test]
async fn messages_answered_together_are_all_named() {
    let (url, received) = receiver(0).await;
    let slow = Act::Slowly("a b c d e f g h".to_owned(), Duration::from_millis(60));
    let model = Model::start([slow, Act::Say("to three".to_owned())]).await;
    let daemon = Daemon::with(&format!("{}{}", hook_config(&url), model.config())).await;
    post_hook(&daemon, &message("m-1", "one"), None).await;
    eventually("the model was asked", || async {
        !model.requests().is_empty()
    })
    .await;
    for id in ["m-2", "m-3", "m-4", "m-3"] {
        assert_eq!(post_hook(&daemon, &message(id, id), None).await.status, 202);
    }
    eventually("both answers came", || async {
        received.lock().unwrap().len() == 2
    })
    .await;
    let answers = received.lock().unwrap().clone();
    assert_eq!(answers[0].1["in_reply_to"], "m-1");
    assert!(answers[0].1.get("also_in_reply_to").is_none());
    assert_eq!(answers[1].1["in_reply_to"], "m-4");
    assert_eq!(answers[1].1["also_in_reply_to"], json!(["m-2", "m-3"]));
    // A redelivery of what was merged is known.
    assert_eq!(
        post_hook(&daemon, &message("m-2", "m-2"), None)
            .await
            .status,
        202
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(received.lock().unwrap().len(), 2);
}

/// Takes requests; of the first it closes the connection without a word, or holds it open.
#[expect(clippy::disallowed_methods, reason = "the server ends with the test")]
async fn forgetful(hold: bool) -> (String, tokio::sync::mpsc::Receiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (send, receive) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        let mut held = Vec::new();
        for n in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            let mut piece = [0; 4096];
            while !request.ends_with('}') {
                let read = stream.read(&mut piece).await.unwrap();
                request.push_str(std::str::from_utf8(&piece[..read]).unwrap());
            }
            send.send(request).await.unwrap();
            if n > 0 {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            } else if hold {
                held.push(stream);
            }
        }
    });
    (url, receive)
}

#[tokio::test]
async fn what_may_have_arrived_is_ambiguous_and_sent_again_with_the_same_key() {
    let (url, mut requests) = forgetful(false).await;
    let daemon = Daemon::with(&hook_config(&url)).await;
    post_hook(&daemon, &message("m-1", "hello"), None).await;
    let first = requests.recv().await.unwrap();
    eventually("it is ambiguous", || async {
        let rows = outbox(&daemon).await;
        rows.iter()
            .any(|row| row["state"] == "ambiguous" && row["unsure"] == true)
    })
    .await;
    let second = requests.recv().await.unwrap();
    assert_eq!(first, second, "the same bytes, the key among them");
    eventually("it is delivered", || async {
        outbox(&daemon).await[0]["state"] == "delivered"
    })
    .await;
}

#[tokio::test]
async fn a_crash_while_sending_is_known_afterwards() {
    let (url, mut requests) = forgetful(true).await;
    let mut daemon = Daemon::with(&hook_config(&url)).await;
    post_hook(&daemon, &message("m-1", "hello"), None).await;
    let first = requests.recv().await.unwrap();
    // Written before the request went out.
    assert_eq!(outbox(&daemon).await[0]["state"], "sending");
    daemon.kill();
    daemon.launch().await;
    assert_eq!(requests.recv().await.unwrap(), first);
    eventually("it is delivered", || async {
        let row = outbox(&daemon).await.remove(0);
        row["state"] == "delivered" && row["unsure"] == true && row["attempts"] == 2
    })
    .await;
}

#[tokio::test]
async fn what_is_too_old_is_not_sent_without_asking() {
    let (url, received) = receiver(1).await;
    let mut daemon = Daemon::with(&hook_config(&url)).await;
    let accepted = post_hook(&daemon, &message("m-1", "hello"), None)
        .await
        .ok();
    eventually("it was tried", || async {
        received.lock().unwrap().len() == 1
    })
    .await;
    daemon.kill();
    daemon.configure(&format!(
        "{}delivery: {{ max_age: 1s }}\n",
        hook_config(&url)
    ));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    daemon.launch().await;
    eventually("it expired", || async {
        outbox(&daemon).await[0]["state"] == "expired"
    })
    .await;
    assert_eq!(received.lock().unwrap().len(), 1);
    // Everywhere an owner looks.
    let row = outbox(&daemon).await.remove(0);
    let listed = daemon.cli_ok(&["outbox", "list"]).await;
    assert!(listed.contains("expired"), "{listed}");
    assert!(
        daemon
            .cli_ok(&["status"])
            .await
            .contains("nexflow outbox list")
    );
    let numbers = daemon.stranger().get("/metrics").await.body;
    assert!(numbers.contains("nexflow_outbox_given_up 1"), "{numbers}");
    let mut page = daemon
        .socket(&string(&accepted, "session_id"), Some(0))
        .await;
    assert_eq!(page.until("notice").await["code"], "delivery_expired");
    // The owner says so.
    daemon
        .cli_ok(&["outbox", "send", &string(&row, "id")])
        .await;
    eventually("it is delivered", || async {
        outbox(&daemon).await[0]["state"] == "delivered"
    })
    .await;
    assert_eq!(received.lock().unwrap().len(), 2);
    let settled = daemon.cli(&["outbox", "drop", &string(&row, "id")]).await;
    assert!(!settled.status.success());
}

#[tokio::test]
async fn what_is_dropped_is_not_sent_and_not_shown_again() {
    let (url, received) = receiver(1000).await;
    let daemon = Daemon::with(&hook_config(&url)).await;
    post_hook(&daemon, &message("m-1", "hello"), None).await;
    eventually("it is to be tried again", || async {
        outbox(&daemon)
            .await
            .first()
            .is_some_and(|row| row["state"] == "retry")
    })
    .await;
    let row = outbox(&daemon).await.remove(0);
    let path = format!("/api/v1/outbox/{}", string(&row, "id"));
    let dropped = daemon
        .owner()
        .post(&path, json!({ "action": "drop" }))
        .await
        .ok();
    assert_eq!(dropped["state"], "dead");
    let tried = received.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(received.lock().unwrap().len(), tried);
    assert!(daemon.cli_ok(&["outbox", "list"]).await.contains("Nothing"));
    let again = daemon
        .owner()
        .post(&path, json!({ "action": "shred" }))
        .await;
    assert_eq!(again.status, 422);
    assert_eq!(
        daemon
            .stranger()
            .post(&path, json!({ "action": "send" }))
            .await
            .status,
        401
    );
}
