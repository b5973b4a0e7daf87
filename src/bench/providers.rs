//! What stands between a model and the agent: each piece of a stream, a provider that is not there, and
//! many streams at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, future::try_join_all};
use reqwest::Client;
use serde_json::json;

use super::{line, model::Model, rig::Rig, row};
use crate::{
    net::Http,
    providers::{Kind, Provider, Request},
    types::{
        Entry,
        chat::{Delta, Message},
    },
};

/// Times each of them is measured.
const RUNS: usize = 20;
/// Messages that go to the second provider.
const FALLBACKS: usize = 50;
/// Streams side by side; each has so many tokens, ten milliseconds apart.
const STREAMS: usize = 200;
const TOKENS: u32 = 300;
const BETWEEN: Duration = Duration::from_millis(10);

/// Measures all of it.
pub(super) async fn run() -> anyhow::Result<()> {
    pieces().await?;
    fallback().await?;
    streams().await
}

/// Our reader against the library alone, on the same answer.
async fn pieces() -> anyhow::Result<()> {
    let model = Model::start().await?;
    let raw = raw_client()?;
    let (mut firsts, mut each) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let (short, long) = (provider(&model.url)?, provider(&model.long())?);
    for n in 0..=RUNS {
        let first = (bare(&raw, &model.url).await?, read(&*short).await?);
        let all = (bare(&raw, &model.long()).await?, read(&*long).await?);
        // The first opens the connections.
        if n > 0 {
            firsts.0.push(first.0.0);
            firsts.1.push(first.1.0);
            each.0.push(all.0.1);
            each.1.push(all.1.1);
        }
    }
    let added =
        |(bare, ours): &(Vec<Duration>, Vec<Duration>)| median(ours).saturating_sub(median(bare));
    let first = added(&firsts).as_secs_f64() * 1000.0;
    line(
        "added to the first token",
        &format!("{first:.2} ms"),
        "< 2 ms",
    );
    let piece = added(&each).as_secs_f64() * 1e6;
    line("added to each piece", &format!("{piece:.2} µs"), "< 20 µs");
    Ok(())
}

fn provider(url: &str) -> anyhow::Result<Arc<dyn Provider>> {
    let settings = json!({ "base_url": url, "api_key": "bench", "model": "bench" });
    let entry = Entry {
        name: "bench".to_owned(),
        kind: "custom".to_owned(),
        settings: serde_json::from_value(settings)?,
    };
    let kind = Kind::named("custom").context("no such kind")?;
    (kind.build)(&entry, &Http::new()).map_err(anyhow::Error::msg)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the library alone is what our reader is measured against"
)]
fn raw_client() -> anyhow::Result<Client> {
    Ok(Client::builder().no_proxy().build()?)
}

/// Until the first piece, and for each piece of all of it.
type Times = (Duration, Duration);

async fn bare(client: &Client, base: &str) -> anyhow::Result<Times> {
    let began = Instant::now();
    let url = format!("{base}/chat/completions");
    let body = json!({ "model": "bench", "messages": [], "stream": true });
    let answer = client.post(url).json(&body).send().await?;
    let mut bytes = answer.bytes_stream();
    let mut first = None;
    while let Some(piece) = bytes.next().await {
        piece?;
        first.get_or_insert_with(|| began.elapsed());
    }
    times(began, first)
}

async fn read(provider: &dyn Provider) -> anyhow::Result<Times> {
    let began = Instant::now();
    let request = Request {
        messages: vec![Message::User {
            text: "go on".to_owned(),
            images: Vec::new(),
        }],
        ..Request::default()
    };
    let mut answer = provider.complete(&request).await?;
    let mut first = None;
    while let Some(delta) = answer.next().await {
        if let Delta::Text(_) = delta? {
            first.get_or_insert_with(|| began.elapsed());
        }
    }
    times(began, first)
}

fn times(began: Instant, first: Option<Duration>) -> anyhow::Result<Times> {
    let first = first.context("nothing came")?;
    Ok((first, began.elapsed() / Model::LONG))
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The first provider refuses the connection, each time.
async fn fallback() -> anyhow::Result<()> {
    let model = Model::start().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let nobody = format!("http://{}/v1", listener.local_addr()?);
    drop(listener);
    let section =
        |url: &str| format!("{{ kind: custom, base_url: '{url}', api_key: b, model: b }}");
    let llm = format!(
        "{{ tasks: {{ chat: [first, second] }}, breaker: {{ failures: 1000000 }}, providers: {{ first: {}, second: {} }} }}",
        section(&nobody),
        section(&model.url)
    );
    let rig = Rig::routed(&llm, "").await?;
    let (mut session, mut took) = (None, Vec::new());
    for n in 0..FALLBACKS + 5 {
        let sent = Instant::now();
        rig.chat(&mut session, "how are you?").await?;
        let (called, _) = model.last().context("the second was not called")?;
        if n >= 5 {
            took.push(called - sent);
        }
    }
    row("refused connection to the next called", &took, "< 100 ms");
    Ok(())
}

/// Whether many streams keep the pace of their models.
async fn streams() -> anyhow::Result<()> {
    let model = Model::start().await?;
    let url = model.paced(TOKENS, BETWEEN);
    let more = "turns: { max_parallel: 256, max_parallel_per_user: 256 }\n";
    let rig = Rig::with(&url, more).await?;
    let talks = (0..STREAMS).map(|_| async {
        let seen = rig.chat(&mut None, "go on").await?;
        let ideal = BETWEEN * (TOKENS - 1);
        anyhow::Ok((seen.completed - seen.first_text).saturating_sub(ideal))
    });
    let behind = try_join_all(talks).await?;
    row("200 streams of 100 tokens/s: behind after 3 s", &behind, "");
    line(
        "memory then (resident)",
        &super::megabytes(rig.memory_kb()? * 1024),
        "",
    );
    Ok(())
}
