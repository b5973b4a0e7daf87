//! Files that go out with an answer, and files that came in, shown again.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    support::{
        Daemon, eventually,
        model::{Act, Model},
        string,
    },
    webhook::{hook_config, post_hook, receiver},
};

/// The smallest picture there is.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn send(path: &str, caption: Option<&str>) -> (String, Value) {
    let mut args = json!({ "path": path });
    if let Some(caption) = caption {
        args["caption"] = caption.into();
    }
    ("send_file".to_owned(), args)
}

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

#[tokio::test]
async fn a_file_of_the_workspace_goes_out_with_the_answer() {
    let calls = vec![
        send("out/report.csv", Some("The numbers")),
        send("./dot.png", None),
        // The same again is the same file.
        send("dot.png", None),
        send("../../nexflow.db", None),
        send("link", None),
        send("none.txt", None),
    ];
    let model = Model::start([say("hello"), Act::Call(calls), say("here"), say("bye")]).await;
    let (url, received) = receiver(0).await;
    let daemon = Daemon::with(&format!("{}{}", model.config(), hook_config(&url))).await;
    let say = async |id: &str| {
        let body = json!({ "id": id, "user": "ada", "text": "say it" });
        let session = string(&post_hook(&daemon, &body, None).await.json(), "session_id");
        eventually("it is answered", || async {
            let all = received.lock().unwrap();
            all.iter().any(|(_, b)| b["in_reply_to"] == id)
        })
        .await;
        session
    };
    let session = say("1").await;
    let workspace = daemon.path(&format!("data/workspaces/{session}"));
    std::fs::create_dir_all(workspace.join("out")).unwrap();
    std::fs::write(workspace.join("out/report.csv"), "a,b\n1,2\n").unwrap();
    std::fs::write(workspace.join("dot.png"), STANDARD.decode(PICTURE).unwrap()).unwrap();
    std::os::unix::fs::symlink("../../nexflow.db", workspace.join("link")).unwrap();
    say("2").await;
    let answer = received.lock().unwrap()[1].1.clone();
    assert_eq!(answer["text"], "here\n\n`report.csv`: The numbers");
    let csv = STANDARD.encode("a,b\n1,2\n");
    let mut files = answer["attachments"].as_array().unwrap().clone();
    files.sort_by_key(|file| string(file, "name"));
    assert_eq!(
        files,
        [
            json!({ "name": "dot.png", "media_type": "image/png", "data": PICTURE }),
            json!({ "name": "report.csv", "media_type": "text/csv", "data": csv }),
        ]
    );
    let told = model.requests()[2]["messages"].to_string();
    for why in ["not in the workspace", "no such file", "symbolic link"] {
        assert!(told.contains(why), "{why}: {told}");
    }
    // They are the answer's alone.
    say("3").await;
    assert!(received.lock().unwrap()[2].1["attachments"].is_null());
    let owner = daemon.owner();
    let path = format!("/api/v1/sessions/{session}/messages");
    let history = owner.get(&path).await.ok();
    let said = &history["messages"][3];
    let (id, shown) = (string(said, "id"), said["attachments"].as_array().unwrap());
    assert_eq!(shown.len(), 2, "{said}");
    for (n, file) in shown.iter().enumerate() {
        let path = format!("/api/v1/messages/{id}/attachments/{n}");
        let reply = owner.get(&path).await;
        let header = |name: &str| reply.headers[name].to_str().unwrap().to_owned();
        assert_eq!(
            (reply.status, header("x-content-type-options")),
            (200, "nosniff".to_owned())
        );
        let (kind, how) = match file["name"].as_str().unwrap() {
            "dot.png" => ("image/png", "inline; filename=\"dot.png\""),
            _ => {
                assert_eq!(reply.body, "a,b\n1,2\n");
                (
                    "application/octet-stream",
                    "attachment; filename=\"report.csv\"",
                )
            }
        };
        assert_eq!(header("content-type"), kind);
        assert!(header("content-disposition").starts_with(how));
        let stranger = daemon.stranger().get(&path).await;
        assert_eq!(
            (stranger.status, stranger.error()),
            (401, "UNAUTHORIZED".to_owned())
        );
    }
    for none in [
        format!("/api/v1/messages/{id}/attachments/2"),
        format!("/api/v1/messages/{session}/attachments/0"),
    ] {
        let reply = owner.get(&none).await;
        assert_eq!((reply.status, reply.error()), (404, "NOT_FOUND".to_owned()));
    }
}

#[tokio::test]
async fn a_picture_that_somebody_sent_is_there_after_a_reload() {
    let model = Model::start([say("a dot")]).await;
    let daemon = Daemon::with(&model.config()).await;
    let owner = daemon.owner();
    let picture = json!({ "name": "a \"dot\".png", "media_type": "image/png", "data": PICTURE });
    let page = json!({ "name": "page.html", "media_type": "text/html", "data": PICTURE });
    let body = json!({ "message": "what is it?", "attachments": [picture] });
    let answer = owner.post("/api/v1/chat", body).await.ok();
    let session = string(&answer, "session_id");
    let path = format!("/api/v1/sessions/{session}/messages");
    let said = owner.get(&path).await.ok()["messages"][0].clone();
    let path = format!("/api/v1/messages/{}/attachments/0", string(&said, "id"));
    let reply = owner.get(&path).await;
    assert_eq!(
        (reply.status, &reply.headers["content-type"]),
        (200, &"image/png".parse().unwrap())
    );
    let refused = json!({ "message": "and this?", "attachments": [page] });
    assert_eq!(owner.post("/api/v1/chat", refused).await.status, 422);
}
