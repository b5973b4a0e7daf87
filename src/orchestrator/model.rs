//! One model call: the chosen provider, streamed; a second try where that helps; the next provider
//! where it does not.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use serde_json::Value;

use super::{context, spend, work::Work};
use crate::{
    providers::{About, Provider, ProviderError, Request, is_certain},
    store::turns::{Said, StepKind},
    types::{
        chat::{Delta, Message, Reasoning, Stop, Usage, estimate_tokens},
        frame::Body,
        secret::mask,
        text::shorten,
    },
};

/// Longer waits are for the next provider, or the person, to fill.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer may not grow beyond this.
const LONGEST: usize = 2 << 20;

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

/// Why one try ended.
enum Broken {
    Stopped(String),
    Error(ProviderError),
    /// A limit on money is reached; the text says which.
    Budget(String),
}

/// The text when nothing came within the turn's time.
pub(super) fn too_slow(waited: Duration) -> String {
    format!(
        "The model did not answer within {} s. Try again, or raise turns.max_seconds.",
        waited.as_secs()
    )
}

/// Asks the providers in order until one answers.
pub(super) async fn ask(work: &Work, request: &Request) -> Reply {
    let (chain, model) = match choose(work).await {
        Ok(chosen) => chosen,
        Err(text) => return Reply::Failed("NO_SUCH_MODEL", text),
    };
    let request = Request {
        model,
        ..request.clone()
    };
    let (mut last, mut over) = (None, None::<String>);
    for (n, provider) in chain.iter().enumerate() {
        // It stands in for a model only where it is certain; else the failure is the answer.
        let failed = last.is_some() || over.is_some();
        if provider.about().offline && failed && !is_certain(&work.asked.text) {
            break;
        }
        if n > 0 {
            if let Some(text) = &over {
                notice(work, "budget", text);
            }
            notice(
                work,
                "fallback",
                &format!("Answering with `{}` instead.", provider.about().name),
            );
        }
        let asked = if provider.about().offline {
            plain(work, &request)
        } else {
            request.clone()
        };
        match persist(work, provider, &asked).await {
            Ok((said, about)) => return Reply::Said(said, about),
            Err(Broken::Stopped(text)) => return Reply::Cancelled(text),
            Err(Broken::Error(error)) => {
                tracing::warn!(provider = provider.about().name, %error, "a model call failed");
                last = Some(error);
            }
            Err(Broken::Budget(text)) => over = over.or(Some(text)),
        }
    }
    match (over, last) {
        (Some(text), _) => Reply::Failed("BUDGET", text),
        (None, Some(error)) => Reply::Failed("PROVIDER", failure(&error)),
        (None, None) => Reply::Failed("PROVIDER", "No model provider is configured.".to_owned()),
    }
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

/// Providers in order, and the model where the message names one.
async fn choose(work: &Work) -> Result<(Vec<Arc<dyn Provider>>, Option<String>), String> {
    let providers = &work.core.parts.live().providers;
    if work.by_command() {
        return Ok((vec![providers.offline()], None));
    }
    match work.asked.model.as_deref() {
        None | Some("" | "auto" | "default") => Ok((providers.chain().await, None)),
        Some(named) => {
            if let Some(provider) = providers.get(named) {
                return Ok((vec![provider], None));
            }
            let by_prefix = named
                .split_once('/')
                .and_then(|(name, model)| Some((providers.get(name)?, model.to_owned())));
            match by_prefix {
                Some((provider, model)) => Ok((vec![provider], Some(model))),
                None => Err(format!(
                    "There is no provider `{named}`. Name one of llm.providers, or PROVIDER/MODEL."
                )),
            }
        }
    }
}

/// One provider, tried twice where the second time may help.
async fn persist(
    work: &Work,
    provider: &Arc<dyn Provider>,
    request: &Request,
) -> Result<(Said, About), Broken> {
    let providers = &work.core.parts.live().providers;
    let name = provider.about().name;
    let mut tried = 0;
    loop {
        tried += 1;
        let error = match stream(work, provider, request).await {
            Ok(said) => {
                providers.answered(&name);
                return Ok(said);
            }
            Err(Broken::Error(error)) => error,
            stopped => return stopped,
        };
        spend::failed(work, &error).await;
        providers.failed(&name, &error);
        let wait = match &error {
            ProviderError::RateLimited { after, .. } => after.unwrap_or(Duration::from_secs(1)),
            ProviderError::Down { .. } => Duration::from_millis(300),
            _ => return Err(Broken::Error(error)),
        };
        if tried > 1 || wait > PATIENCE {
            return Err(Broken::Error(error));
        }
        tracing::info!(provider = name, %error, wait_ms = wait.as_millis(), "asking again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = work.cancel.cancelled() => return Err(Broken::Stopped(String::new())),
        }
        notice(
            work,
            "retry",
            &format!("`{name}` did not finish; asking again."),
        );
    }
}

async fn stream(
    work: &Work,
    provider: &Arc<dyn Provider>,
    request: &Request,
) -> Result<(Said, About), Broken> {
    let mut said = Said {
        name: String::new(),
        text: String::new(),
        calls: Vec::new(),
        reasoning: None,
        usage: Usage::default(),
        first_token_at: None,
    };
    let request = spend::reserve(work, &provider.about(), request)
        .await
        .map_err(Broken::Budget)?;
    let mut answer = tokio::select! {
        answer = provider.complete(&request) => answer.map_err(Broken::Error)?,
        () = work.cancel.cancelled() => return Err(Broken::Stopped(String::new())),
    };
    work.purse.accepted();
    let stop = loop {
        let delta = tokio::select! {
            delta = answer.next() => delta,
            () = work.cancel.cancelled() => return Err(Broken::Stopped(said.text)),
        };
        if let Some(Ok(delta)) = &delta {
            work.purse.heard(delta);
        }
        match delta {
            Some(Ok(Delta::Text(piece))) => hear(work, &mut said, piece),
            Some(Ok(delta @ (Delta::Reasoning(_) | Delta::Kept { .. }))) => {
                think(work, &mut said, &delta);
            }
            Some(Ok(Delta::Notice(text))) => notice(work, "model", &text),
            Some(Ok(Delta::Call(call))) => said.calls.push(call),
            Some(Ok(Delta::Done { usage, stop })) => {
                said.usage = usage;
                break stop;
            }
            Some(Err(error)) => return Err(Broken::Error(error)),
            None => return Err(Broken::Error(cut(provider))),
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
    Ok(whole(
        work,
        provider,
        (said, stop),
        request.model.as_deref(),
    ))
}

/// An answer that has ended, as it is kept: named, with ids that stand for one call, without secrets.
fn whole(
    work: &Work,
    provider: &Arc<dyn Provider>,
    (mut said, stop): (Said, Stop),
    model: Option<&str>,
) -> (Said, About) {
    let about = match model {
        Some(model) => provider.about_model(model),
        None => provider.about(),
    };
    said.name = format!("{}/{}", about.name, about.model);
    distinct_ids(work, &mut said);
    masked(&mut said);
    if stop == Stop::Length && said.calls.is_empty() {
        said.text
            .push_str("\n\n*(cut: the answer reached its length limit)*");
    }
    if stop == Stop::Filtered {
        said.text
            .push_str("\n\n*(cut: the provider withheld the rest of this answer)*");
    }
    (said, about)
}

fn cut(provider: &Arc<dyn Provider>) -> ProviderError {
    ProviderError::Garbled {
        provider: provider.about().name,
        detail: "its answer has no end".to_owned(),
    }
}

/// Shows a piece of text; text after a tool call begins a new paragraph.
fn hear(work: &Work, said: &mut Said, piece: String) {
    if said.text.is_empty() {
        said.first_token_at
            .get_or_insert_with(|| work.core.parts.clock.now());
        let earlier = work
            .steps
            .iter()
            .any(|s| matches!(&s.kind, StepKind::Model { text, .. } if !text.trim().is_empty()));
        if earlier {
            live(work, "\n\n".to_owned());
        }
    }
    said.text.push_str(&piece);
    live(work, piece);
}

/// Thoughts are shown as they come and kept with the answer.
fn think(work: &Work, said: &mut Said, delta: &Delta) {
    Reasoning::take(&mut said.reasoning, delta);
    if let Delta::Reasoning(piece) = delta {
        said.first_token_at
            .get_or_insert_with(|| work.core.parts.clock.now());
        let body = Body::Reasoning {
            turn_id: work.turn.id,
            text: piece.clone(),
        };
        work.core.parts.bus.live(work.turn.session, body);
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

fn notice(work: &Work, code: &str, text: &str) {
    let body = Body::Notice {
        turn_id: Some(work.turn.id),
        code: code.to_owned(),
        text: text.to_owned(),
    };
    work.core.parts.bus.live(work.turn.session, body);
}
