//! A disk that fills up: nothing is promised that does not fit, nothing that was promised is lost.

use std::{fs::File, io::Write as _, path::Path, time::Duration};

use serde_json::json;

use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    string,
};

/// A small file system of its own, until it is dropped.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// None where this is not allowed.
    fn on(path: &'a Path) -> Option<Self> {
        use nix::mount::{MsFlags, mount};
        std::fs::create_dir_all(path).unwrap();
        let made = mount(
            Some("tmpfs"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=24m,mode=0700"),
        );
        if let Err(error) = made {
            eprintln!("skipped: a small file system cannot be mounted here ({error}); run as root");
            return None;
        }
        Some(Self(path))
    }

    /// Writes until nothing fits any more.
    fn fill(&self) {
        let mut file = File::create(self.0.join("ballast")).unwrap();
        let block = vec![1; 1 << 16];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&[1; 512]).is_ok() {}
    }

    /// Lets go of so much again.
    fn leave(&self, bytes: u64) {
        let file = File::options()
            .write(true)
            .open(self.0.join("ballast"))
            .unwrap();
        let now = file.metadata().unwrap().len();
        file.set_len(now - bytes).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // What is left goes with the machine.
        nix::mount::umount2(self.0, nix::mount::MntFlags::MNT_DETACH).ok();
    }
}

#[tokio::test]
async fn a_full_disk_stops_accepting_and_pauses_turns_until_there_is_room() {
    let slow = Act::Slowly(
        "one two three four five six".to_owned(),
        Duration::from_millis(300),
    );
    let call = Act::Call(vec![("recall".to_owned(), json!({ "query": "x" }))]);
    let model = Model::start([slow, call, Act::Say("after the room".to_owned())]).await;
    let config = format!("{}storage: {{ min_free_mb: 4 }}\n", model.config());
    let mut daemon = Daemon::with(&config).await;
    daemon.kill();
    let data = daemon.path("data");
    let Some(disk) = Mount::on(&data) else { return };
    daemon.launch().await;
    let owner = daemon.owner();
    let mut page = daemon.socket("new", None).await;
    page.say("speak", "c1").await;
    page.until("text.delta").await;
    disk.fill();

    // Refused before anything is promised, and said so everywhere.
    let refused = owner
        .post("/api/v1/chat", json!({ "message": "no room" }))
        .await;
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (503, "STORAGE_FULL")
    );
    assert!(refused.headers.contains_key("retry-after"));
    page.say("no room", "c2").await;
    assert_eq!(page.until("error").await["code"], "STORAGE_FULL");
    let ready = daemon.stranger().get("/ready").await;
    assert_eq!(
        (ready.status, ready.json()["checks"]["storage"].as_str()),
        (503, Some("full"))
    );
    let status = owner.get("/api/v1/status").await.ok();
    assert!(
        status["warnings"].to_string().contains("nearly full"),
        "{status}"
    );

    // The turn under way waits with its answer.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let messages = format!("/api/v1/sessions/{}/messages", page.session);
    let said = owner.get(&messages).await.ok();
    assert_eq!(said["messages"].as_array().unwrap().len(), 1, "{said}");
    // It may use the last of the room; new messages may not.
    disk.leave(3 << 20);
    let done = page.until("message.completed").await;
    assert_eq!(done["text"], "one two three four five six");
    assert_eq!(model.requests().len(), 1, "it was not asked again");
    assert!(!daemon.log().contains("the turn failed"));

    let refused = owner
        .post("/api/v1/chat", json!({ "message": "little room" }))
        .await;
    assert_eq!(refused.error(), "STORAGE_FULL");
    disk.free();

    // Everything is as before, and what is sent again is answered once.
    tokio::time::sleep(Duration::from_millis(200)).await;
    page.say("no room", "c2").await;
    let frames = page.all_until("message.completed").await;
    assert_eq!(frames.last().unwrap()["text"], "after the room");
    eventually("it is ready again", || async {
        daemon.stranger().get("/ready").await.status == 200
    })
    .await;
    let said = owner.get(&messages).await.ok();
    let roles: Vec<String> = said["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| string(m, "role"))
        .collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    daemon.kill();
}
