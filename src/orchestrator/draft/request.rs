//! One request about a draft: the row is written before it is made and after it is answered.

use std::time::Duration;

use crate::{
    connectors::{Connector, ConnectorError, Found, Resend},
    fail::{self, Point},
    orchestrator::Core,
    store::{
        Result as Stored, StoreError,
        drafts::{self, State, Words},
        inbox,
        outbox::{self, Parcel},
        turns,
    },
    types::{Address, Draft, MessageId, Outgoing, SessionId, TurnId},
};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the answer waits for a request that is under way.
const LAST: Duration = Duration::from_secs(5);
/// What a draft becomes whose answer does not come.
const LEFT: &str =
    "*(The answer to this did not get here: it could not be delivered in time, or was dropped.)*";

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Became {
    /// It is shown.
    Shown,
    /// It is not; try again, after this long at least.
    Later(Option<Duration>),
    /// This turn has no draft, or none that can be changed.
    Without,
}

/// Where and what.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) turn: TurnId,
    pub(super) session: SessionId,
    pub(super) to: Address,
    pub(super) draft: Draft,
}

impl Wanted {
    /// A draft of a turn that shows nothing yet.
    pub(super) fn of(turn: &turns::Turn, asked: &inbox::Waiting) -> Self {
        Self {
            turn: turn.id,
            session: turn.session,
            to: turn.reply_to.clone(),
            draft: Draft {
                idempotency_key: turn.id.to_string(),
                in_reply_to: Some(asked.external_id.clone()),
                user: asked.external_user.clone(),
                text: String::new(),
                status: String::new(),
                post: None,
            },
        }
    }

    /// What it shows.
    fn words(&self) -> Words {
        Words {
            text: self.draft.text.clone(),
            status: self.draft.status.clone(),
        }
    }

    /// What it is looked for by, with what its first request showed.
    fn as_outgoing(&self, first: Words) -> Outgoing {
        Outgoing {
            idempotency_key: self.draft.idempotency_key.clone(),
            session: self.session,
            in_reply_to: self.draft.in_reply_to.clone(),
            also_in_reply_to: Vec::new(),
            follows: None,
            user: self.draft.user.clone(),
            text: first.text,
            draft: Some(first.status),
            files: Vec::new(),
            notice: false,
            aside: false,
            question: None,
            replaces: None,
            posted: Vec::new(),
            again: false,
        }
    }
}

/// Shows a running turn.
pub(super) async fn show(core: &Core, connector: &dyn Connector, wanted: Wanted) -> Became {
    let Some(flight) = core.drafts.begin(wanted.turn) else {
        return Became::Later(None);
    };
    let shown = tokio::time::timeout(PATIENCE, post(core, connector, wanted.clone()));
    let shown = tokio::select! {
        shown = shown => shown.unwrap_or_else(|_| Err(too_slow())),
        () = flight.stop.cancelled() => Err(too_slow()),
    };
    became(core, wanted.turn, shown).await
}

/// Shows that somebody writes; how long not to try again, where the platform says so.
pub(super) async fn typing(connector: &dyn Connector, to: &Address) -> Option<Duration> {
    match tokio::time::timeout(PATIENCE, connector.typing(to)).await {
        Ok(Err(ConnectorError::Later { after, .. })) => after,
        _ => None,
    }
}

fn too_slow() -> ConnectorError {
    ConnectorError::Unsure {
        reason: "the platform did not answer in time".to_owned(),
    }
}

/// Writes what is known now where the first request failed.
async fn became(core: &Core, turn: TurnId, shown: Result<Became, ConnectorError>) -> Became {
    let error = match shown {
        Ok(became) => return became,
        Err(error) => error,
    };
    tracing::debug!(turn_id = %turn, %error, "a draft was not shown");
    let unsure = matches!(error, ConnectorError::Unsure { .. });
    let written = core.parts.store.keep(move |tx| {
        match drafts::get(tx, turn)? {
            Some(State::Opening) if unsure => drafts::unsure(tx, turn),
            Some(State::Opening) => drafts::forget(tx, turn),
            // A change may be made twice.
            _ => Ok(()),
        }
    });
    if let Err(error) = written.await {
        tracing::warn!(turn_id = %turn, %error, "what became of a draft could not be written");
    }
    match error {
        ConnectorError::Later { after, .. } => Became::Later(after),
        ConnectorError::Unsure { .. } => Became::Later(None),
        ConnectorError::Refused(_) => Became::Without,
    }
}

async fn post(
    core: &Core,
    connector: &dyn Connector,
    mut wanted: Wanted,
) -> Result<Became, ConnectorError> {
    let (turn, now) = (wanted.turn, core.parts.clock.now());
    let store = &core.parts.store;
    let to = wanted.to.clone();
    let known = store.read(move |c| {
        let running = turns::get(c, turn)?.is_some_and(|turn| turn.state == "running");
        let known = running.then_some(drafts::get(c, turn)?);
        Ok(known.zip(Some(outbox::waits_for(c, &to)?)))
    });
    // The turn has ended: its answer takes the place now.
    let Some((known, behind)) = stored(known.await)? else {
        return Ok(Became::Without);
    };
    if behind && !matches!(known, Some(State::Open(_))) {
        // It would stand before what was said earlier.
        return Ok(Became::Later(None));
    }
    match known {
        Some(State::Open(post)) => {
            wanted.draft.post = Some(post.clone());
            let shows = connector.draft(&wanted.to, &wanted.draft).await?;
            if shows != post {
                // Somebody deleted the one that was there.
                keep(core, turn, &shows).await?;
            }
            return Ok(Became::Shown);
        }
        Some(State::Opening | State::Unknown) => {
            if find(core, connector, &wanted).await?.is_some() {
                // What it shows is from before.
                return Ok(Became::Later(None));
            }
            if connector.abilities().resend == Resend::Marked {
                return Ok(Became::Without);
            }
            stored(store.keep(move |tx| drafts::forget(tx, turn)).await)?;
        }
        None => {}
    }
    let words = wanted.words();
    let begun = store.keep(move |tx| drafts::begin(tx, turn, &words, now));
    if !stored(begun.await)? {
        return Ok(Became::Without);
    }
    fail::point(Point::DraftBegun);
    open(core, connector, &wanted).await?;
    Ok(Became::Shown)
}

/// The first request: after it, it is on disk which post shows the turn.
async fn open(
    core: &Core,
    connector: &dyn Connector,
    wanted: &Wanted,
) -> Result<String, ConnectorError> {
    let post = connector.draft(&wanted.to, &wanted.draft).await?;
    fail::point(Point::DraftPosted);
    keep(core, wanted.turn, &post).await?;
    fail::point(Point::DraftCommitted);
    Ok(post)
}

async fn keep(core: &Core, turn: TurnId, post: &str) -> Result<(), ConnectorError> {
    let post = post.to_owned();
    let write = core
        .parts
        .store
        .keep(move |tx| drafts::opened(tx, turn, &post));
    stored(write.await)
}

fn stored<T>(result: Stored<T>) -> Result<T, ConnectorError> {
    result.map_err(|error: StoreError| ConnectorError::Later {
        reason: format!("the database did not answer: {error}"),
        after: None,
    })
}

/// The post of a draft whose first request nobody saw the end of, as the platform lets us find it.
async fn find(
    core: &Core,
    connector: &dyn Connector,
    wanted: &Wanted,
) -> Result<Option<String>, ConnectorError> {
    let found = match connector.abilities().resend {
        Resend::Marked => None,
        Resend::WithKey => return open(core, connector, wanted).await.map(Some),
        Resend::ReadBack => {
            let (turn, session, to) = (wanted.turn, wanted.session, wanted.to.clone());
            let read = core.parts.store.read(move |c| {
                let first = drafts::first_words(c, turn)?;
                // Ids are times: what was written before the turn began stands before it.
                let before = MessageId(turn.0);
                Ok(first.zip(Some(outbox::last_post(c, session, &to, before)?)))
            });
            match stored(read.await)? {
                Some((first, follows)) => {
                    let mut what = wanted.as_outgoing(first);
                    what.follows = follows;
                    match connector.find(&wanted.to, &what).await? {
                        Found::Post(post) => Some(post),
                        Found::Absent | Found::Unknown => None,
                    }
                }
                None => None,
            }
        }
    };
    if let Some(post) = &found {
        keep(core, wanted.turn, post).await?;
    }
    Ok(found)
}

/// The post whose place an answer takes: waits until no request about it is under way.
pub(in crate::orchestrator) async fn settle(
    core: &Core,
    connector: &dyn Connector,
    answer: &Parcel,
) -> Result<Option<String>, ConnectorError> {
    let Some(turn) = answer.turn.filter(|_| !answer.notice) else {
        return Ok(None);
    };
    if !connector.abilities().changes_posts() {
        return Ok(None);
    }
    // The turn has ended, so that no request begins from here on.
    core.drafts.ended(turn, LAST).await;
    let store = &core.parts.store;
    match stored(store.read(move |c| drafts::get(c, turn)).await)? {
        None => Ok(None),
        Some(State::Open(post)) => Ok(Some(post)),
        Some(State::Opening | State::Unknown) => {
            let wanted = Wanted {
                turn,
                session: answer.session,
                to: answer.to.clone(),
                draft: Draft {
                    idempotency_key: turn.to_string(),
                    in_reply_to: answer.in_reply_to.clone(),
                    user: answer.external_user.clone(),
                    text: answer.text.clone(),
                    status: String::new(),
                    post: None,
                },
            };
            find(core, connector, &wanted).await
        }
    }
}

/// Says in a draft that its answer does not come, and forgets it.
pub(super) async fn leave(core: &Core, turn: TurnId) -> Stored<()> {
    let Some(_flight) = core.drafts.begin(turn) else {
        return Ok(());
    };
    let store = &core.parts.store;
    let read = store.read(move |c| {
        let left = drafts::is_left(c, turn)?;
        let known = drafts::get(c, turn)?.filter(|_| left);
        let turn = turns::get(c, turn)?;
        let asked = turn.as_ref().map(|turn| inbox::get(c, turn.message));
        Ok(known.zip(turn.zip(asked.transpose()?.flatten())))
    });
    let Some((known, (turn, asked))) = read.await? else {
        return Ok(());
    };
    let live = core.parts.live();
    if let Some(connector) = live.connectors.get(&turn.reply_to.connector) {
        let last = Wanted::of(&turn, &asked);
        let said = tokio::time::timeout(PATIENCE, say_left(core, &**connector, (known, last)));
        if matches!(
            said.await,
            Err(_)
                | Ok(Err(
                    ConnectorError::Later { .. } | ConnectorError::Unsure { .. }
                ))
        ) {
            return Ok(());
        }
    }
    let turn = turn.id;
    store.keep(move |tx| drafts::forget(tx, turn)).await
}

async fn say_left(
    core: &Core,
    connector: &dyn Connector,
    (known, mut last): (State, Wanted),
) -> Result<(), ConnectorError> {
    let post = match known {
        State::Open(post) => Some(post),
        State::Opening | State::Unknown if connector.abilities().resend == Resend::ReadBack => {
            find(core, connector, &last).await?
        }
        State::Opening | State::Unknown => None,
    };
    if post.is_some() {
        LEFT.clone_into(&mut last.draft.text);
        last.draft.post = post;
        connector.draft(&last.to, &last.draft).await?;
    }
    Ok(())
}

/// What is known of a turn that is to be shown; none if it does not run, or is shown nowhere.
pub(super) async fn look(
    core: &Core,
    turn: TurnId,
) -> Stored<Option<(turns::Turn, inbox::Waiting, Vec<turns::Step>)>> {
    let ours = core.parts.live().connectors.changing_posts();
    if ours.is_empty() {
        return Ok(None);
    }
    let read = core.parts.store.read(move |c| {
        let found = turns::get(c, turn)?.filter(|turn| turn.state == "running");
        let Some(turn) = found.filter(|turn| ours.contains(&turn.reply_to.connector)) else {
            return Ok(None);
        };
        let message: MessageId = turn.message;
        let Some(asked) = inbox::get(c, message)? else {
            return Ok(None);
        };
        let steps = turns::steps(c, turn.id)?;
        Ok(Some((turn, asked, steps)))
    });
    read.await
}
