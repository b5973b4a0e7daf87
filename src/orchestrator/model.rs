//! One model call: streamed as it comes, and told how it ended. Who is called, and who after it, is
//! [`route`]'s business.

mod route;

use std::{borrow::Cow, time::Duration};

use futures_util::StreamExt as _;
use serde_json::Value;

pub(super) use route::{Answered, Call, End};

use super::{Core, context, spend, work::Work};
use crate::{
    providers::{About, Choice, ProviderError, Request, Wish},
    store::{
        Result, models,
        reservations::Bill,
        turns::{Said, StepKind},
    },
    types::{
        SessionId, StepId, Task, UserId,
        chat::{Delta, Message, Reasoning, Stop, Usage, estimate_tokens},
        frame::Body,
        secret::mask,
        text::shorten,
    },
};

/// An answer may not grow beyond this.
const LONGEST: usize = 2 << 20;
/// What an answer ends with that ran into its limit.
pub(super) const CUT: &str = "\n\n*(cut: the answer reached its length limit)*";
/// What an answer ends with that the provider cut off.
const WITHHELD: &str = "\n\n*(cut: the provider withheld the rest of this answer)*";
/// Name of the provider of commands.
const OFFLINE: &str = "offline";

/// What came of asking.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and mostly the large one"
)]
pub(super) enum Reply {
    Said(Said, About),
    /// The person stopped it; what was said by then.
    Cancelled(String),
    /// A code, and a text for the person.
    Failed(&'static str, String),
}

/// Why one call ended without an answer.
enum Broken {
    /// The person stopped it; what was said by then.
    Stopped(String),
    /// A limit on money is reached; the text says which.
    Budget(String),
    /// It failed; whether some of what it wrote was shown.
    Error { error: ProviderError, heard: bool },
}

/// The text when nothing came within the turn's time.
pub(super) fn too_slow(waited: Duration) -> String {
    format!(
        "The model did not answer within {} s. Try again, or raise turns.max_seconds.",
        waited.as_secs()
    )
}

/// Who is to be asked in a turn: what the message names, then what the conversation and the person
/// chose, then what the configuration says for such a turn.
pub(super) async fn wish(work: &Work) -> Result<Wish> {
    let task = if work.asked.external_id.starts_with("schedule:") {
        Task::Agent
    } else {
        Task::Chat
    };
    let named = (work.asked.text.as_str(), work.asked.model.clone());
    let whose = (Some(work.turn.session), work.asked.user);
    wish_for(&work.core, task, named, whose).await
}

/// The same for a message that may not have been sent yet: its text, and the model that it names.
pub(super) async fn wish_for(
    core: &Core,
    task: Task,
    (text, named): (&str, Option<String>),
    whose: (Option<SessionId>, UserId),
) -> Result<Wish> {
    if crate::providers::is_command(text) {
        return Ok(Wish {
            exact: Some(OFFLINE.to_owned()),
            ..Wish::of(task)
        });
    }
    let store = &core.parts.store;
    Ok(Wish {
        task,
        exact: named.filter(|name| !matches!(name.as_str(), "" | "auto" | "default")),
        preferred: store.read(move |c| models::chosen(c, whose)).await?,
    })
}

/// Asks for the next step of a turn.
pub(super) async fn ask(work: &Work, request: &Request) -> Reply {
    let call = Call {
        core: &work.core,
        wish: &work.wish,
        bill: bill(work, work.open, "chat"),
        purse: &work.purse,
        cancel: &work.cancel,
        work: Some(work),
    };
    match route::answer(&call, request).await {
        Ok(mut answered) => {
            distinct_ids(work, &mut answered.said);
            Reply::Said(answered.said, answered.about)
        }
        Err(End::Stopped(text)) => Reply::Cancelled(text),
        Err(End::Unknown(text)) => Reply::Failed("NO_SUCH_MODEL", text),
        Err(End::Budget(text)) => Reply::Failed("BUDGET", text),
        Err(End::Failed(Some(error))) => Reply::Failed("PROVIDER", failure(&error)),
        Err(End::Failed(None)) => {
            Reply::Failed("PROVIDER", "No model provider is configured.".to_owned())
        }
        Err(End::LeftAlone(why)) => Reply::Failed(
            "PROVIDER",
            format!(
                "No model can be asked just now: {why}.\n\nYour message is kept; send it again then. `nexflow provider reset NAME` has one asked at once."
            ),
        ),
    }
}

/// A call that a turn pays for.
pub(super) fn bill(work: &Work, step: Option<StepId>, purpose: &str) -> Bill {
    Bill {
        step,
        turn: Some(work.turn.id),
        session: work.turn.session,
        user: work.place.user,
        person: work.place.person,
        agent: spend::AGENT.to_owned(),
        channel: work.turn.reply_to.connector.clone(),
        schedule: work.schedule(),
        purpose: purpose.to_owned(),
    }
}

/// Asks on behalf of a skill, which nobody watches.
pub(super) async fn think(
    call: &Call<'_>,
    request: &Request,
) -> std::result::Result<Answered, End> {
    route::answer(call, request).await
}

fn failure(error: &ProviderError) -> String {
    format!(
        "I could not get an answer from the model: {error}\n\nYour message is kept; send it again when this is mended. Commands such as `/help` work without a model."
    )
}

/// The offline provider has no use for the past, and may use the tools of commands.
fn plain(work: &Work, request: &Request) -> Request {
    let mut messages = vec![Message::User {
        text: work.asked.text.clone(),
        images: Vec::new(),
    }];
    messages.extend(context::said_in(&work.steps, &work.joined));
    Request {
        messages,
        tools: work.toolbox.specs(true),
        system: String::new(),
        ..request.clone()
    }
}

/// One call of one provider: what it may cost is reserved first, then its answer is heard to the end.
async fn attempt(
    call: &Call<'_>,
    choice: &Choice,
    request: &Request,
) -> std::result::Result<(Said, About), Broken> {
    // With its images a request is large: it is copied only to say something else.
    let request = match &choice.model {
        None => Cow::Borrowed(request),
        model => Cow::Owned(Request {
            model: model.clone(),
            ..request.clone()
        }),
    };
    let request = spend::reserve(call, &choice.about(), &request)
        .await
        .map_err(Broken::Budget)?;
    let mut said = Said {
        name: String::new(),
        text: String::new(),
        calls: Vec::new(),
        reasoning: None,
        usage: Usage::default(),
        first_token_at: None,
    };
    let stop = match listen(call, choice, (&request, &mut said)).await {
        Ok(stop) => stop,
        Err(None) => return Err(Broken::Stopped(said.text)),
        Err(Some(error)) => {
            let heard = said.first_token_at.is_some();
            return Err(Broken::Error { error, heard });
        }
    };
    masked(&mut said);
    if stop == Stop::Length && said.calls.is_empty() {
        said.text.push_str(CUT);
    }
    if stop == Stop::Filtered {
        said.text.push_str(WITHHELD);
    }
    // A local server's own model is known only now.
    said.name = choice.name();
    Ok((said, choice.about()))
}

/// Hears an answer to its end; with no error it was the person who ended it.
async fn listen(
    call: &Call<'_>,
    choice: &Choice,
    (request, said): (&Request, &mut Said),
) -> std::result::Result<Stop, Option<ProviderError>> {
    let mut answer = tokio::select! {
        answer = choice.provider.complete(request) => answer?,
        () = call.cancel.cancelled() => return Err(None),
    };
    call.purse.accepted();
    loop {
        let delta = tokio::select! {
            delta = answer.next() => delta,
            () = call.cancel.cancelled() => return Err(None),
        };
        let delta = delta.ok_or_else(|| cut(choice))??;
        call.purse.heard(&delta);
        match delta {
            Delta::Text(piece) => hear(call, said, piece),
            Delta::Reasoning(_) | Delta::Kept { .. } => ponder(call, said, &delta),
            Delta::Notice(text) => notice(call, text),
            Delta::Call(asked) => said.calls.push(asked),
            Delta::Done { usage, stop } => {
                said.usage = usage;
                return Ok(stop);
            }
        }
        if said.text.len() > LONGEST {
            said.usage = Usage {
                output_tokens: estimate_tokens(&said.text),
                estimated: true,
                ..said.usage
            };
            return Ok(Stop::Length);
        }
    }
}

fn cut(choice: &Choice) -> ProviderError {
    ProviderError::Garbled {
        provider: choice.about().name,
        detail: "its answer has no end".to_owned(),
    }
}

/// Shows a piece of text; text after a tool call begins a new paragraph.
pub(super) fn hear(call: &Call<'_>, said: &mut Said, piece: String) {
    let first = said.text.is_empty();
    said.first_token_at
        .get_or_insert_with(|| call.core.parts.clock.now());
    said.text.push_str(&piece);
    let Some(work) = call.work else { return };
    if first {
        let earlier = work
            .steps
            .iter()
            .any(|s| matches!(&s.kind, StepKind::Model { text, .. } if !text.trim().is_empty()));
        if earlier {
            live(work, "\n\n".to_owned());
        }
    }
    live(work, piece);
}

/// Thoughts are shown as they come and kept with the answer.
fn ponder(call: &Call<'_>, said: &mut Said, delta: &Delta) {
    Reasoning::take(&mut said.reasoning, delta);
    let Delta::Reasoning(piece) = delta else {
        return;
    };
    said.first_token_at
        .get_or_insert_with(|| call.core.parts.clock.now());
    if let Some(work) = call.work {
        let body = Body::Reasoning {
            turn_id: work.turn.id,
            text: piece.clone(),
        };
        work.core.parts.bus.live(work.turn.session, body);
    }
}

/// What the person should know about an answer, as it comes.
fn notice(call: &Call<'_>, text: String) {
    if let Some(work) = call.work {
        let body = Body::Notice {
            turn_id: Some(work.turn.id),
            code: "model".to_owned(),
            text,
        };
        work.core.parts.bus.live(work.turn.session, body);
    }
}

/// What was shown of an answer that broke off does not count.
fn take_back(call: &Call<'_>) {
    if let Some(work) = call.work {
        let turn_id = work.turn.id;
        let bus = &work.core.parts.bus;
        bus.live(work.turn.session, Body::Reset { turn_id });
    }
}

fn live(work: &Work, text: String) {
    work.core.parts.bus.live(
        work.turn.session,
        Body::Text {
            turn_id: work.turn.id,
            text,
        },
    );
}

/// A model that was told a secret somewhere does not get to write it anywhere.
fn masked(said: &mut Said) {
    if let Cow::Owned(clean) = mask(&said.text) {
        said.text = clean;
    }
    if let Some(thoughts) = &mut said.reasoning {
        if let Cow::Owned(clean) = mask(&thoughts.text) {
            thoughts.text = clean;
        }
        // What is signed cannot be changed, only left out.
        let secret = |part: &Value| matches!(mask(&part.to_string()), Cow::Owned(_));
        if thoughts.kept.iter().any(secret) {
            thoughts.kept.clear();
        }
    }
    for call in &mut said.calls {
        if let Cow::Owned(clean) = mask(&call.args.to_string()) {
            call.args = serde_json::from_str(&clean).unwrap_or(Value::String(clean));
        }
    }
}

/// Some servers number calls from zero in each answer: within a turn an id must stand for one call.
fn distinct_ids(work: &Work, said: &mut Said) {
    let mut used: Vec<String> = work
        .steps
        .iter()
        .filter_map(|s| match &s.kind {
            StepKind::Tool { call, .. } => Some(call.id.clone()),
            StepKind::Model { .. } => None,
        })
        .collect();
    for call in &mut said.calls {
        let given = if call.id.is_empty() {
            "call".to_owned()
        } else {
            shorten(&call.id, 100)
        };
        call.id.clone_from(&given);
        let mut n = 1;
        while used.contains(&call.id) {
            n += 1;
            call.id = format!("{given}_{n}");
        }
        used.push(call.id.clone());
    }
}
