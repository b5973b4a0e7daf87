//! One model call: streamed as it comes, and told how it ended. Who is called, and who after it, is
//! [`route`]'s business.

mod route;

use std::{borrow::Cow, time::Duration};

use futures_util::StreamExt as _;
use serde_json::Value;

pub(super) use route::{Answered, Bill, Call, End};

use super::{context, work::Work};
use crate::{
    providers::{About, Choice, ProviderError, Request, Wish},
    store::{
        Result, models,
        turns::{Said, StepKind},
    },
    types::{
        Task,
        chat::{Delta, Message, Stop, Usage, estimate_tokens},
        frame::Body,
        secret::mask,
        text::shorten,
    },
};

/// An answer may not grow beyond this.
const LONGEST: usize = 2 << 20;
/// What an answer ends with that ran into its limit.
pub(super) const CUT: &str = "\n\n*(cut: the answer reached its length limit)*";
/// Name of the provider of commands.
const OFFLINE: &str = "offline";

/// What came of asking.
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
    /// It failed; whether some of its text was shown.
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
    if work.by_command() {
        return Ok(Wish {
            exact: Some(OFFLINE.to_owned()),
            ..Wish::of(task)
        });
    }
    let named = work.asked.model.clone();
    let exact = named.filter(|name| !matches!(name.as_str(), "" | "auto" | "default"));
    let whose = (work.turn.session, work.asked.user);
    let store = &work.core.parts.store;
    Ok(Wish {
        task,
        exact,
        preferred: store.read(move |c| models::chosen(c, whose)).await?,
    })
}

/// Asks for the next step of a turn.
pub(super) async fn ask(work: &Work, request: &Request) -> Reply {
    let Some(id) = work.open else {
        return Reply::Failed("INTERNAL", "The step was not begun.".to_owned());
    };
    let call = Call {
        core: &work.core,
        wish: &work.wish,
        bill: Bill {
            id,
            purpose: "turn".to_owned(),
            turn: Some(work.turn.id),
            session: work.turn.session,
            user: work.asked.user,
            channel: work.turn.reply_to.connector.clone(),
        },
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

/// One call of one provider, from its request to the last word of its answer.
async fn attempt(
    call: &Call<'_>,
    choice: &Choice,
    request: &Request,
) -> std::result::Result<(Said, About), Broken> {
    let request = Request {
        model: choice.model.clone(),
        ..request.clone()
    };
    let mut said = Said {
        name: String::new(),
        text: String::new(),
        calls: Vec::new(),
        usage: Usage::default(),
        first_token_at: None,
    };
    let broken = |error| Broken::Error {
        error,
        heard: false,
    };
    let mut answer = tokio::select! {
        answer = choice.provider.complete(&request) => answer.map_err(broken)?,
        () = call.cancel.cancelled() => return Err(Broken::Stopped(String::new())),
    };
    let stop = loop {
        let delta = tokio::select! {
            delta = answer.next() => delta,
            () = call.cancel.cancelled() => return Err(Broken::Stopped(said.text)),
        };
        let heard = !said.text.is_empty();
        match delta {
            Some(Ok(Delta::Text(piece))) => hear(call, &mut said, piece),
            Some(Ok(Delta::Call(asked))) => said.calls.push(asked),
            Some(Ok(Delta::Done { usage, stop })) => {
                said.usage = usage;
                break stop;
            }
            Some(Err(error)) => return Err(Broken::Error { error, heard }),
            None => {
                let error = cut(choice);
                return Err(Broken::Error { error, heard });
            }
        }
        if said.text.len() > LONGEST {
            said.usage = Usage {
                output_tokens: estimate_tokens(&said.text),
                estimated: true,
                ..said.usage
            };
            break Stop::Length;
        }
    };
    said.name = choice.name();
    masked(&mut said);
    if stop == Stop::Length && said.calls.is_empty() {
        said.text.push_str(CUT);
    }
    Ok((said, choice.about()))
}

fn cut(choice: &Choice) -> ProviderError {
    ProviderError::Garbled {
        provider: choice.about().name,
        detail: "its answer has no end".to_owned(),
    }
}

/// Shows a piece of text; text after a tool call begins a new paragraph.
pub(super) fn hear(call: &Call<'_>, said: &mut Said, piece: String) {
    let first = said.first_token_at.is_none();
    if first {
        said.first_token_at = Some(call.core.parts.clock.now());
    }
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
