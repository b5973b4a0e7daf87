//! The page and the HTTP API. Messages come in through `api`; answers are read from the session.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::{Abilities, Connector, ConnectorError, Inbox, Posts, Spec, served_elsewhere};
use crate::{
    net::Http,
    types::{Address, Outgoing},
};

/// The page.
pub(super) struct Web;

/// `channels.web`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Config {}

impl Spec for Web {
    const NAME: &'static str = "web";
    const EXAMPLE: &'static str = "web:\n  enabled: true\n";
    type Config = Config;

    fn new(_config: Config, _http: &Http) -> Self {
        Self
    }
}

#[async_trait]
impl Connector for Web {
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
