//! The command line. `nexflow chat` speaks to the HTTP API over a Unix socket and reads the session.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::{Abilities, Connector, ConnectorError, Inbox, Posts, Spec, served_elsewhere};
use crate::{
    net::Http,
    types::{Address, Outgoing},
};

/// The command line.
pub(super) struct Cli;

/// `channels.cli`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Config {}

impl Spec for Cli {
    const NAME: &'static str = "cli";
    const EXAMPLE: &'static str = "cli:\n  enabled: true\n";
    type Config = Config;

    fn new(_config: Config, _http: &Http) -> Self {
        Self
    }
}

#[async_trait]
impl Connector for Cli {
    async fn run(
        &self,
        _inbox: &dyn Inbox,
        cancel: CancellationToken,
    ) -> Result<(), ConnectorError> {
        served_elsewhere(cancel).await
    }

    async fn send(
        &self,
        _to: &Address,
        _what: &Outgoing,
        _posts: &dyn Posts,
    ) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            reads_session: true,
            ..Abilities::default()
        }
    }
}
