//! One provider of the set, with what is known of its health.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Map, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use url::Url;

use super::{Condition, State};
use crate::{
    net::Http,
    providers::{KINDS, Kind, Provider, ProviderError},
    types::Entry,
};

/// How long a check may take.
const CHECK: Duration = Duration::from_secs(2);

/// How long a server that nobody configured may take to take a connection.
const KNOCK: Duration = Duration::from_millis(300);

/// How long a good check holds, and a bad one.
pub(super) const GOOD: Duration = Duration::from_mins(1);
pub(super) const BAD: Duration = Duration::from_secs(30);

pub(super) struct Slot {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) provider: Arc<dyn Provider>,
    /// Where to knock first, for a server that nobody configured.
    pub(super) knock: Option<(String, u16)>,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone)]
struct Seen {
    result: Result<(), ProviderError>,
    until: Instant,
}

impl Slot {
    pub(super) fn new(entry: &Entry, provider: Arc<dyn Provider>) -> Self {
        Self {
            name: entry.name.clone(),
            kind: entry.kind.clone(),
            provider,
            knock: None,
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> Option<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    pub(super) fn note(&self, result: Result<(), ProviderError>, holds: Duration) {
        let until = Instant::now() + holds;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(Seen { result, until });
    }

    fn fresh(&self) -> Option<Result<(), ProviderError>> {
        let seen = self.seen().filter(|seen| seen.until > Instant::now());
        seen.map(|seen| seen.result)
    }

    pub(super) fn failing(&self) -> bool {
        matches!(self.fresh(), Some(Err(_)))
    }

    /// Whether it answered when last asked, however long ago.
    pub(super) fn ready(&self) -> bool {
        matches!(self.seen(), Some(Seen { result: Ok(()), .. }))
    }

    pub(super) async fn fresh_or_check(&self) -> bool {
        match self.fresh() {
            Some(result) => result.is_ok(),
            None => self.check().await,
        }
    }

    pub(super) async fn check(&self) -> bool {
        let result = self.ask().await;
        let well = result.is_ok();
        self.note(result, if well { GOOD } else { BAD });
        well
    }

    async fn ask(&self) -> Result<(), ProviderError> {
        if let Some((host, port)) = &self.knock {
            let knock = timeout(KNOCK, TcpStream::connect((host.as_str(), *port))).await;
            if !matches!(knock, Ok(Ok(_))) {
                return Err(ProviderError::down(&self.name, "nothing listens there"));
            }
        }
        timeout(CHECK, self.provider.check())
            .await
            .unwrap_or_else(|_| Err(ProviderError::down(&self.name, "it did not answer in 2 s")))
    }

    pub(super) fn state(&self) -> State {
        State {
            name: self.name.clone(),
            kind: self.kind.clone(),
            model: self.provider.about().model,
            condition: match self.seen() {
                None => Condition::Unknown,
                Some(Seen { result: Ok(()), .. }) => Condition::Ready,
                Some(Seen {
                    result: Err(error), ..
                }) => Condition::Failing(error.to_string()),
            },
        }
    }
}

pub(super) fn build(entry: &Entry, http: &Http) -> Result<Arc<dyn Provider>, String> {
    let kind = Kind::named(&entry.kind).ok_or_else(|| {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        format!(
            "there is no kind of provider called `{}`; there are {}",
            entry.kind,
            known.join(", ")
        )
    })?;
    (kind.build)(entry, http)
}

pub(super) fn local_ollama(address: &str, http: &Http) -> Option<Slot> {
    let url: Url = address.parse().ok()?;
    let knock = (url.host_str()?.to_owned(), url.port_or_known_default()?);
    let entry = Entry {
        name: "ollama".to_owned(),
        kind: "ollama".to_owned(),
        settings: Map::from_iter([("base_url".to_owned(), json!(address))]),
    };
    let provider = build(&entry, http).ok()?;
    Some(Slot {
        knock: Some(knock),
        ..Slot::new(&entry, provider)
    })
}
