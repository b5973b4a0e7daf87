//! The Discord connector, through the gateway and the REST interface as Discord speaks them.

mod approvals;
#[cfg(feature = "failpoints")]
mod kill;
mod burst;
mod clock;
mod messages;
mod network;
mod peer;
mod people;
mod trouble;

use serde_json::Value;

use crate::support::{
    Daemon,
    discord::Discord,
    eventually,
    model::{Act, Model},
};

/// A Discord, a model and a daemon between them.
struct Stage {
    discord: Discord,
    model: Model,
    daemon: Daemon,
}

impl Stage {
    async fn new(acts: impl IntoIterator<Item = Act>, more: &str) -> Self {
        Self::with(acts, more, "").await
    }

    /// With more of `channels.discord` and more of the rest.
    async fn with(acts: impl IntoIterator<Item = Act>, more: &str, rest: &str) -> Self {
        let discord = Discord::start().await;
        Self::on(discord, acts, (more, rest)).await
    }

    async fn on(
        discord: Discord,
        acts: impl IntoIterator<Item = Act>,
        (more, rest): (&str, &str),
    ) -> Self {
        let model = Model::start(acts).await;
        let config = format!("{}{}{rest}", model.config(), discord.config(more));
        let daemon = Daemon::with(&config).await;
        let stage = Self {
            discord,
            model,
            daemon,
        };
        if stage.discord.is_well() {
            stage.heard().await;
        }
        stage
    }

    /// Waits until the daemon listens.
    async fn heard(&self) {
        eventually("the gateway has a listener", || async {
            self.discord.is_heard()
        })
        .await;
    }

    /// How the connector stands.
    async fn state(&self) -> (String, String) {
        let ready = self.daemon.owner().get("/api/v1/status").await.ok();
        let all = ready["connectors"].as_array().cloned().unwrap_or_default();
        let ours = all.iter().find(|c| c["name"] == "discord").cloned();
        let ours = ours.unwrap_or_else(|| panic!("no discord in {ready}"));
        let text = |key: &str| ours[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("detail"))
    }

    async fn until_state(&self, state: &str) -> String {
        eventually(&format!("the connector is {state}"), || async {
            self.state().await.0 == state
        })
        .await;
        self.state().await.1
    }
}

/// What a post says, in its text or its box.
fn said(post: &Value) -> String {
    let boxed = post["embeds"][0]["description"].as_str();
    let content = post["content"].as_str().filter(|text| !text.is_empty());
    content.or(boxed).unwrap_or_default().to_owned()
}

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}
