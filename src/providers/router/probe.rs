//! Trying a provider with real requests, and saying what to mend.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    providers::{Provider, ProviderError, Request},
    types::{
        chat::{Delta, Message, ToolSpec, Usage},
        money::Usd,
    },
};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Tokens that each of them may make; models that think need some before they say a word.
const OUTPUT: u32 = 300;
/// Models that are named where one is not there.
const NEAR: usize = 3;

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works with less.
    Weak,
    /// It does not work.
    Bad,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `reach`, `auth`, `model`, `streaming` or `tools`.
    pub what: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen.
    pub detail: String,
    /// What to do.
    pub mend: Option<String>,
}

/// What came of trying a provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// Name of its section.
    pub name: String,
    /// The model that was asked.
    pub model: String,
    /// What was found, up to the first thing that made the rest pointless.
    pub findings: Vec<Finding>,
    /// What it took.
    pub usage: Usage,
    /// What that cost, where the price is known.
    pub cost_usd: Option<Usd>,
}

/// What a short answer held.
#[derive(Default)]
struct Heard {
    pieces: usize,
    calls: usize,
    usage: Usage,
}

/// Tries everything.
pub(super) async fn run(provider: &dyn Provider) -> Probe {
    let about = provider.about();
    let mut probe = Probe {
        name: about.name.clone(),
        model: about.model.clone(),
        findings: Vec::new(),
        usage: Usage::default(),
        cost_usd: None,
    };
    match hear(provider, &counting()).await {
        Ok(heard) => {
            probe.usage = heard.usage;
            probe.findings.extend(well());
            probe.findings.push(streaming(&heard));
        }
        Err(error) => {
            let models = provider.models().await.unwrap_or_default();
            let models: Vec<String> = models.into_iter().map(|about| about.model).collect();
            probe.findings = trouble(&about.name, (&about.model, &models), &error);
            return probe;
        }
    }
    let called = hear(provider, &calling()).await;
    if let Ok(heard) = &called {
        probe.usage = probe.usage.plus(heard.usage);
    }
    probe.findings.push(tools(called));
    // A local server may have told its model only now.
    probe.model = provider.about().model;
    probe
}

async fn hear(provider: &dyn Provider, request: &Request) -> Result<Heard, ProviderError> {
    let name = provider.about().name;
    let listen = async {
        let mut answer = provider.complete(request).await?;
        let mut heard = Heard::default();
        while let Some(delta) = answer.next().await {
            match delta? {
                Delta::Call(_) => heard.calls += 1,
                Delta::Done { usage, .. } => heard.usage = usage,
                Delta::Text(_) => heard.pieces += 1,
                Delta::Reasoning(_) | Delta::Kept { .. } | Delta::Notice(_) => {}
            }
        }
        Ok(heard)
    };
    let seconds = PATIENCE.as_secs();
    let late = format!("it did not answer within {seconds} s");
    let heard = timeout(PATIENCE, listen).await;
    heard.unwrap_or_else(|_| Err(ProviderError::down(&name, &late)))
}

/// Long enough to come in more than one piece.
fn counting() -> Request {
    ask("Write the numbers from one to twenty as words.")
}

fn calling() -> Request {
    Request {
        tools: vec![ToolSpec {
            name: "ping".to_owned(),
            description: "Tells that tools work.".to_owned(),
            input_schema: json!({ "type": "object", "properties": {} }),
        }],
        ..ask("Call the tool `ping` now, without any words.")
    }
}

fn ask(text: &str) -> Request {
    Request {
        messages: vec![Message::User {
            text: text.to_owned(),
            images: Vec::new(),
        }],
        max_output_tokens: OUTPUT,
        ..Request::default()
    }
}

fn finding(what: &'static str, verdict: Verdict, detail: &str, mend: Option<String>) -> Finding {
    Finding {
        what,
        verdict,
        detail: detail.to_owned(),
        mend,
    }
}

fn good(what: &'static str, detail: &str) -> Finding {
    finding(what, Verdict::Good, detail, None)
}

fn well() -> [Finding; 3] {
    [
        good("reach", "it answers"),
        good("auth", "it takes our key"),
        good("model", "it has the model"),
    ]
}

fn streaming(heard: &Heard) -> Finding {
    if heard.pieces > 1 {
        return good(
            "streaming",
            &format!("the answer came in {} pieces", heard.pieces),
        );
    }
    let mend = "answers appear all at once; if a proxy stands between, switch its buffering off";
    finding(
        "streaming",
        Verdict::Weak,
        "the answer came in one piece",
        Some(mend.to_owned()),
    )
}

fn tools(called: Result<Heard, ProviderError>) -> Finding {
    let mend = || {
        Some("name a model that takes tools: it can run no skill and set no reminder".to_owned())
    };
    match called {
        Ok(heard) if heard.calls > 0 => good("tools", "it calls tools"),
        Ok(_) => finding(
            "tools",
            Verdict::Weak,
            "it did not call the tool that it was told to call",
            mend(),
        ),
        Err(error) => finding("tools", Verdict::Bad, &error.to_string(), mend()),
    }
}

/// What an error says of each thing, as far as it says anything.
fn trouble(name: &str, (model, models): (&str, &[String]), error: &ProviderError) -> Vec<Finding> {
    let text = error.to_string();
    let bad = |what, mend: String| finding(what, Verdict::Bad, &text, Some(mend));
    let key = |key: &str| format!("llm.providers.{name}.{key}");
    let reached = good("reach", "it answers");
    match error {
        ProviderError::Unreachable { .. } => vec![bad(
            "reach",
            format!("start the server, or correct {}", key("base_url")),
        )],
        ProviderError::Garbled { .. } => vec![bad(
            "reach",
            format!(
                "something else answers at that address: correct {}",
                key("base_url")
            ),
        )],
        ProviderError::Down { .. } => vec![bad(
            "reach",
            format!(
                "wait and try again; if it stays so, look at {} and at the provider's status page",
                key("base_url")
            ),
        )],
        ProviderError::Credentials { .. } => vec![
            reached,
            bad(
                "auth",
                format!(
                    "set the right key in {}, and see that the account has credit",
                    key("api_key")
                ),
            ),
        ],
        ProviderError::RateLimited { .. } => vec![
            reached,
            good("auth", "it takes our key"),
            finding(
                "model",
                Verdict::Weak,
                &text,
                Some("wait, or raise the limits of the account".to_owned()),
            ),
        ],
        ProviderError::TooLong { .. } | ProviderError::Refused { .. } => {
            refused(name, (model, models), &text)
        }
    }
}

/// A request was refused: a model that is not there, or an address that is not the API's.
fn refused(name: &str, (model, models): (&str, &[String]), text: &str) -> Vec<Finding> {
    let there = models.iter().any(|known| known == model);
    if models.is_empty() && text.contains("base_url") {
        let mend = format!("correct llm.providers.{name}.base_url");
        return vec![finding("reach", Verdict::Bad, text, Some(mend))];
    }
    let mend = if models.is_empty() || there {
        format!("look at llm.providers.{name}.model and at what the provider said")
    } else {
        let near = near(model, models).join("`, `");
        format!("set llm.providers.{name}.model to a model that it has, such as `{near}`")
    };
    vec![
        good("reach", "it answers"),
        good("auth", "it takes our key"),
        finding("model", Verdict::Bad, text, Some(mend)),
    ]
}

/// The names most like this one, the best first.
fn near<'a>(model: &str, models: &'a [String]) -> Vec<&'a str> {
    let mut all: Vec<(f64, &str)> = models
        .iter()
        .map(|known| (strsim::jaro_winkler(known, model), known.as_str()))
        .collect();
    all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    all.into_iter().take(NEAR).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests;
