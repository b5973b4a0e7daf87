//! The progress of something long that a server does, line by line.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::time::timeout;

use super::{Opened, Peer};
use crate::{
    net::lines::Splitter,
    providers::{ProviderError, Pulled, Pulling},
};

/// Reads a line, for a provider of this name; nothing for the line that says that all is done.
pub(in crate::providers) type Line = fn(&str, &str) -> Result<Option<Pulled>, ProviderError>;

struct Reader {
    provider: String,
    stall: Duration,
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    splitter: Splitter,
    lines: VecDeque<String>,
    line: Line,
    ended: bool,
}

pub(super) fn read(peer: &Peer, opened: Opened, line: Line) -> Pulling {
    let reader = Reader {
        provider: peer.name.clone(),
        stall: peer.stall,
        body: opened.response.bytes_stream().boxed(),
        splitter: Splitter::default(),
        lines: VecDeque::new(),
        line,
        ended: false,
    };
    let next = |reader: Option<Reader>| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(pulled)) => Some((Ok(pulled), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    };
    stream::unfold(Some(reader), next).boxed()
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Pulled>, ProviderError> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return (self.line)(&self.provider, &line);
            }
            if self.ended {
                let what = "it ended in the middle of its work";
                return Err(ProviderError::down(&self.provider, what));
            }
            let mut lines = Vec::new();
            match timeout(self.stall, self.body.next()).await {
                Ok(Some(Ok(bytes))) => self
                    .splitter
                    .push(&bytes, &mut lines)
                    .map_err(|e| ProviderError::garbled(&self.provider, &e.to_string()))?,
                Ok(Some(Err(_)) | None) => {
                    self.splitter.finish(&mut lines);
                    self.ended = true;
                }
                Err(_silent) => {
                    let what = format!("it said nothing for {} s", self.stall.as_secs());
                    return Err(ProviderError::down(&self.provider, &what));
                }
            }
            self.lines.extend(lines);
        }
    }
}
