//! One provider of the router, with what is known of its health, its circuits and its queue.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use url::Url;

use super::{
    Condition, Rules, State,
    breaker::{Breaker, Class},
    queue::Queue,
};
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
/// A provider that is told to slow down is not left alone for longer than this.
const LONGEST_BREAK: Duration = Duration::from_mins(10);

/// The key of a section that limits calls side by side; the provider itself does not know it.
const MAX_CONCURRENT: &str = "max_concurrent";

pub(super) struct Slot {
    pub(super) entry: Entry,
    pub(super) provider: Arc<dyn Provider>,
    /// Where to knock first, for a server that nobody configured.
    pub(super) knock: Option<(String, u16)>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) queue: Arc<Queue>,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone)]
struct Seen {
    result: Result<(), ProviderError>,
    until: Instant,
}

impl Slot {
    pub(super) fn new(entry: &Entry, provider: Arc<dyn Provider>, rules: Rules) -> Self {
        let most = entry.settings.get(MAX_CONCURRENT).and_then(Value::as_u64);
        Self {
            entry: entry.clone(),
            provider,
            knock: None,
            breaker: Breaker::new(rules),
            queue: Queue::new(most.and_then(|most| usize::try_from(most).ok())),
            seen: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.entry.name
    }

    fn seen(&self) -> Option<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    fn note(&self, result: Result<(), ProviderError>, holds: Duration) {
        let until = Instant::now() + holds;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(Seen { result, until });
    }

    /// A call was answered, which spares a check.
    pub(super) fn answered(&self) {
        self.note(Ok(()), GOOD);
    }

    /// A call was not answered, and the provider is why.
    pub(super) fn failed(&self, error: &ProviderError) {
        let pause = match error {
            ProviderError::RateLimited { after, .. } => after.unwrap_or(BAD).min(LONGEST_BREAK),
            _ => BAD,
        };
        if Class::of(error).is_some() {
            self.note(Err(error.clone()), pause);
        }
    }

    /// Forgets what was seen of it.
    pub(super) fn reset(&self) {
        self.breaker.reset();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn fresh(&self) -> Option<Result<(), ProviderError>> {
        let seen = self.seen().filter(|seen| seen.until > Instant::now());
        seen.map(|seen| seen.result)
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
                return Err(ProviderError::down(self.name(), "nothing listens there"));
            }
        }
        timeout(CHECK, self.provider.check())
            .await
            .unwrap_or_else(|_| Err(ProviderError::down(self.name(), "it did not answer in 2 s")))
    }

    pub(super) fn state(&self) -> State {
        let (most, running, waiting) = self.queue.counts();
        State {
            name: self.name().to_owned(),
            kind: self.entry.kind.clone(),
            model: self.provider.about().model,
            condition: match self.seen() {
                None => Condition::Unknown,
                Some(Seen { result: Ok(()), .. }) => Condition::Ready,
                Some(Seen {
                    result: Err(error), ..
                }) => Condition::Failing(error.to_string()),
            },
            circuits: self.breaker.circuits(),
            max_concurrent: most,
            running,
            waiting,
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
    let mut own = entry.clone();
    own.settings.shift_remove(MAX_CONCURRENT);
    (kind.build)(&own, http)
}

/// The section of an Ollama that nobody configured.
pub(super) fn local_ollama(address: &str) -> Entry {
    Entry {
        name: "ollama".to_owned(),
        kind: "ollama".to_owned(),
        settings: Map::from_iter([("base_url".to_owned(), json!(address))]),
    }
}

/// Where to knock at an address.
pub(super) fn knock(address: &str) -> Option<(String, u16)> {
    let url: Url = address.parse().ok()?;
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}
