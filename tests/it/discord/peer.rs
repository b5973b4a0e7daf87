//! The fake itself, checked with a client that others wrote: discord.py.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use super::said;
use crate::support::{
    discord::{Discord, GENERAL, OWNER, TOKEN},
    eventually,
};

/// The other client, ended with this.
struct Peer {
    child: Child,
    out: tempfile::NamedTempFile,
}

impl Peer {
    #[expect(clippy::disallowed_methods, reason = "tests start their peers")]
    fn start(discord: &Discord) -> Self {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools");
        let python = std::env::var("NEXFLOW_TEST_PYTHON")
            .map_or_else(|_| tools.join(".venv/bin/python"), Into::into);
        let out = tempfile::NamedTempFile::new().unwrap();
        let told = out.reopen().unwrap();
        let child = Command::new(&python)
            .arg(tools.join("discord_peer.py"))
            .args([&discord.url, TOKEN])
            .stdin(Stdio::null())
            .stdout(told.try_clone().unwrap())
            .stderr(told)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; `make test` installs it", python.display()));
        Self { child, out }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.out.path()).unwrap()
    }

    async fn tells(&self, line: &str) {
        eventually(&format!("discord.py tells {line}"), || async {
            self.told().lines().any(|l| l == line)
        })
        .await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- discord.py ---\n{}", self.told());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_takes_the_fake_for_discord() {
    let discord = Discord::start().await;
    let peer = Peer::start(&discord);
    peer.tells("ready nexflow The house garden general seeds")
        .await;
    assert_eq!(discord.commands()[0]["name"], "ping");
    let id = discord.say(GENERAL, OWNER, "reply");
    let posts = discord.posted(GENERAL, 1).await;
    assert_eq!(
        (
            said(&posts[0]).as_str(),
            &posts[0]["message_reference"]["message_id"]
        ),
        ("a reply", &id.clone().into())
    );
    discord.edit(GENERAL, &id, "changed");
    peer.tells("edited changed").await;
    discord.delete(GENERAL, &id);
    peer.tells(&format!("deleted {id}")).await;
    discord.say(GENERAL, OWNER, "long");
    peer.tells("refused 400 50035").await;
    discord.say(GENERAL, OWNER, "grow");
    eventually("it grew", || async {
        discord.posts(GENERAL).iter().any(|post| said(post) == "ab")
    })
    .await;
    // Cut off, it comes back to its session and hears what it missed.
    discord.cut();
    discord.say(GENERAL, OWNER, "while it was cut");
    peer.tells("message ada while it was cut").await;
    peer.tells("resumed").await;
    assert_eq!(discord.sessions(), (1, 1));
    // A command, answered as an interaction.
    let token = discord.command(GENERAL, OWNER, "ping", Some("a word"));
    peer.tells("ping a word").await;
    eventually("the command is answered", || async {
        discord.given(&token).said.as_deref() == Some("pong")
    })
    .await;
    assert!(discord.given(&token).acknowledged.is_some());
    // A client that heeds the headers is never too fast.
    discord.say(GENERAL, OWNER, "fast");
    peer.tells("fast done").await;
    assert_eq!(discord.too_fast(), 0);
}
