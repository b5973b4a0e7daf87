//! Telegram, through the wire protocol of the Bot API.

mod faults;
mod live;
mod messages;
mod torture;

use crate::support::{
    Daemon,
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
