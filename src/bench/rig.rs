//! A daemon to measure: this program, started as a process of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::store::admin;

/// A daemon in a folder of its own.
pub(super) struct Rig {
    folder: PathBuf,
    child: Child,
    client: Client,
    /// From the start of the process to its word that it is ready.
    pub(super) ready_after: Duration,
}

/// When an answer was seen.
pub(super) struct Seen {
    pub(super) first_text: Instant,
    pub(super) completed: Instant,
}

impl Rig {
    pub(super) async fn start(model: &str) -> anyhow::Result<Self> {
        Self::with(model, "").await
    }

    /// Starts with more configuration.
    pub(super) async fn with(model: &str, more: &str) -> anyhow::Result<Self> {
        Self::routed(&one(model), more).await
    }

    /// Starts with this `llm` section, as YAML in one line.
    pub(super) async fn routed(llm: &str, more: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("nexflow-bench-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder)?;
        configure(&folder, llm, more)?;
        let (child, ready_after) = launch(&folder).await?;
        let client = client(&folder)?;
        Ok(Self {
            folder,
            child,
            client,
            ready_after,
        })
    }

    /// Changes the configuration for the next start.
    pub(super) fn configure(&self, model: &str, more: &str) -> anyhow::Result<()> {
        configure(&self.folder, &one(model), more)
    }

    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        (self.child, self.ready_after) = launch(&self.folder).await?;
        Ok(())
    }

    /// Resident memory.
    pub(super) fn memory_kb(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("the daemon ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Sends a message and follows its answer.
    pub(super) async fn chat(
        &self,
        session: &mut Option<Value>,
        text: &str,
    ) -> anyhow::Result<Seen> {
        let answer = self.post(session.as_ref(), text, true).await?;
        let mut bytes = answer.bytes_stream();
        let (mut buffer, mut first) = (String::new(), None);
        while let Some(piece) = bytes.next().await {
            buffer.push_str(&String::from_utf8_lossy(&piece?));
            if first.is_none() && buffer.contains("text.delta") {
                first = Some(Instant::now());
            }
            if buffer.contains("message.completed") && buffer.ends_with("\n\n") {
                let completed = Instant::now();
                let first_text = first.unwrap_or(completed);
                let frame = buffer
                    .lines()
                    .find_map(|l| l.strip_prefix("data:"))
                    .unwrap_or("{}");
                let frame: Value = serde_json::from_str(frame.trim())?;
                *session = frame.get("session_id").cloned();
                return Ok(Seen {
                    first_text,
                    completed,
                });
            }
        }
        anyhow::bail!("no answer: {buffer}")
    }

    /// Sends a message and waits for the whole answer.
    pub(super) async fn ask(&self, session: &mut Option<Value>, text: &str) -> anyhow::Result<()> {
        let answer = self.post(session.as_ref(), text, false).await?;
        let body: Value = answer.error_for_status()?.json().await?;
        *session = body.get("session_id").cloned();
        Ok(())
    }

    /// Sends a message and does not wait for its answer.
    pub(super) async fn tell(&self, text: &str) -> anyhow::Result<()> {
        let answer = self.post(None, text, true).await?.error_for_status()?;
        // The first frame says that it is on disk.
        answer.bytes_stream().next().await.context("no frame")??;
        Ok(())
    }

    /// Messages that are on disk.
    pub(super) fn accepted(&self) -> anyhow::Result<u64> {
        let status = admin::status(&self.folder.join("data/nexflow.db"))?;
        status.messages.context("the messages cannot be counted")
    }

    /// Messages without an answer yet.
    pub(super) async fn backlog(&self) -> anyhow::Result<u64> {
        let answer = self
            .client
            .get("http://nexflow/api/v1/metrics")
            .send()
            .await?;
        let body: Value = answer.error_for_status()?.json().await?;
        let backlog = body.pointer("/inbox/backlog").and_then(Value::as_u64);
        backlog.context("no backlog")
    }

    async fn post(
        &self,
        session: Option<&Value>,
        text: &str,
        stream: bool,
    ) -> anyhow::Result<reqwest::Response> {
        let body = json!({ "message": text, "session_id": session, "stream": stream });
        Ok(self
            .client
            .post("http://nexflow/api/v1/chat")
            .json(&body)
            .send()
            .await?)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Best effort: the folder is a temporary one.
        drop(self.child.start_kill());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// One provider.
fn one(model: &str) -> String {
    format!(
        "{{ default_provider: custom, providers: {{ custom: {{ base_url: '{model}', api_key: bench, model: bench }} }} }}"
    )
}

fn configure(folder: &Path, llm: &str, more: &str) -> anyhow::Result<()> {
    let config = format!(
        "server: {{ port: 0, safe_mode_after: 0 }}\nllm: {llm}\nlogging: {{ level: error }}\n{more}"
    );
    std::fs::write(folder.join("config.yml"), config)?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the benchmark measures from outside, with a client of its own"
)]
fn client(folder: &Path) -> anyhow::Result<Client> {
    Ok(Client::builder()
        .no_proxy()
        .unix_socket(folder.join("data/nexflow.sock"))
        .build()?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the benchmark starts the daemon that it measures"
)]
async fn launch(folder: &Path) -> anyhow::Result<(Child, Duration)> {
    let began = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["run", "--config"])
        .arg(folder.join("config.yml"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().context("no output")?;
    let mut lines = BufReader::new(out).lines();
    while let Some(line) = lines.next_line().await? {
        if line.contains("http://") {
            let ready = began.elapsed();
            return Ok((child, ready));
        }
    }
    anyhow::bail!("the daemon did not start")
}

/// The bare cost of a process.
#[expect(
    clippy::disallowed_methods,
    reason = "the bare process is what the sandbox is measured against"
)]
pub(super) async fn bare(program: &Path, args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.output().await?;
    Ok(())
}
