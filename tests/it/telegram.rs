//! Telegram, through the wire protocol of the Bot API.

mod faults;
#[cfg(feature = "failpoints")]
mod kills;
mod live;
mod messages;
mod outages;
mod torture;

use serde_json::Value;

use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    telegram::Fake,
};

/// A daemon with a bot whose answers a model gives.
pub async fn with_model(acts: impl IntoIterator<Item = Act>, more: &str) -> (Fake, Model, Daemon) {
    let (fake, model) = (Fake::start().await, Model::start(acts).await);
    let config = format!("{}{}", fake.config(more), model.config());
    let daemon = Daemon::with(&config).await;
    (fake, model, daemon)
}

/// Who may talk and operate in most tests.
pub const OWNER: &str = "operators: [7]";

/// How the connector says it stands: in a word, and in more.
pub async fn stands(daemon: &Daemon) -> (String, String) {
    let status = daemon.cli_ok(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    let all = status["connectors"].as_array().unwrap();
    let one = all.iter().find(|c| c["name"] == "telegram").unwrap();
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("detail"))
}

/// Waits until it stands so; what is said of it.
pub async fn until(daemon: &Daemon, state: &str) -> String {
    eventually(&format!("it is {state}"), || async {
        stands(daemon).await.0 == state
    })
    .await;
    stands(daemon).await.1
}

/// What `nexflow doctor` prints, and whether it finds that all is well.
pub async fn doctor(daemon: &Daemon) -> (String, bool) {
    let output = daemon.cli(&["doctor"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let telling = |line: &&str| line.contains("telegram") || line.contains("warning");
    for line in text.lines().filter(telling) {
        eprintln!("{line}");
    }
    (text, output.status.success())
}
