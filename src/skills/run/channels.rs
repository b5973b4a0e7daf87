//! What a skill says while it runs: output, progress (descriptor 3), and calls of the daemon's
//! abilities (descriptor 4).

use std::{io, os::unix::net::UnixStream as StdStream, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixStream, unix::pipe},
    sync::mpsc::{self, Sender},
};

use super::{Abilities, LiveOutput, RunContext, output};
use crate::{
    net::lines::Splitter,
    sandbox::{Job, Live, Stream},
    skills::{
        Skill,
        permission::{Grant, Permission},
    },
    types::{Task, text::shorten},
};

/// Descriptor of progress.
const PROGRESS: i32 = 3;
/// Descriptor of abilities.
const ABILITIES: i32 = 4;
/// Longest line of progress.
const LONGEST_PROGRESS: usize = 16 << 10;
/// Longest line of a call.
const LONGEST_CALL: usize = 256 << 10;
/// Most calls of one run.
const MOST_CALLS: usize = 1000;
/// A line of output that is longer is shown in parts.
const LONGEST_LINE: usize = 8 << 10;
/// Pieces that may wait to be shown.
const WAITING: usize = 64;

/// Opens the channels in the job; the future serves them until the program closes them.
pub(super) fn open(
    skill: &Skill,
    job: &mut Job,
    context: RunContext,
) -> io::Result<impl Future<Output = ()> + use<>> {
    let (reader, writer) = io::pipe()?;
    let reader = pipe::Receiver::from_owned_fd(reader.into())?;
    job.fds.push((PROGRESS, writer.into()));
    job.env
        .push(("NEXFLOW_PROGRESS_FD".to_owned(), PROGRESS.to_string()));
    let granted: Vec<String> = skill.granted.iter().filter_map(ability).collect();
    let calls = match context.abilities {
        Some(abilities) if !granted.is_empty() => {
            let (ours, theirs) = StdStream::pair()?;
            ours.set_nonblocking(true)?;
            job.fds.push((ABILITIES, theirs.into()));
            job.env
                .push(("NEXFLOW_ABILITIES_FD".to_owned(), ABILITIES.to_string()));
            Some((UnixStream::from_std(ours)?, abilities))
        }
        _ => None,
    };
    let pieces = context.live.as_ref().map(|_| {
        let (sender, pieces) = mpsc::channel(WAITING);
        job.live = Some(sender);
        pieces
    });
    let live = context.live;
    Ok(async move {
        let serve = async {
            if let Some((stream, abilities)) = calls {
                serve(stream, abilities, &granted).await;
            }
        };
        let show = async {
            if let (Some(pieces), Some(live)) = (pieces, &live) {
                show(pieces, live).await;
            }
        };
        tokio::join!(serve, show, progress(reader, live.as_ref()));
    })
}

fn ability(permission: &Permission) -> Option<String> {
    match permission.grant() {
        Grant::Ability(word) => Some(word.clone()),
        _ => None,
    }
}

fn send(live: &Sender<LiveOutput>, text: &str, progress: Option<f64>) {
    let text = output::safe(text);
    if !text.is_empty() || progress.is_some() {
        // Whoever watches may be slow; the kept output is complete.
        live.try_send(LiveOutput { text, progress }).ok();
    }
}

/// Shows output by whole lines: a secret that came in two pieces is masked all the same.
async fn show(mut pieces: mpsc::Receiver<Live>, live: &Sender<LiveOutput>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(piece) = pieces.recv().await {
        let rest = match piece.stream {
            Stream::Stdout => &mut out,
            Stream::Stderr => &mut err,
        };
        rest.extend_from_slice(&piece.text);
        let whole = rest
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |end| end + 1);
        let end = if rest.len() - whole > LONGEST_LINE {
            rest.len()
        } else {
            whole
        };
        let lines: Vec<u8> = rest.drain(..end).collect();
        send(live, &String::from_utf8_lossy(&lines), None);
    }
    for rest in [out, err] {
        send(live, &String::from_utf8_lossy(&rest), None);
    }
}

#[derive(Deserialize)]
struct Progress {
    #[serde(default)]
    text: String,
    progress: Option<f64>,
}

/// Shows lines of progress; reads on to the end, so that nobody waits for us.
async fn progress(mut reader: pipe::Receiver, live: Option<&Sender<LiveOutput>>) {
    let mut splitter = Splitter::with_limit(LONGEST_PROGRESS);
    let (mut buffer, mut lines, mut sane) = ([0; 4096], Vec::new(), true);
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        sane = sane
            && splitter
                .push(buffer.get(..count).unwrap_or_default(), &mut lines)
                .is_ok();
        for line in lines.drain(..) {
            let Some(live) = live else {
                continue;
            };
            match serde_json::from_str::<Progress>(&line) {
                Ok(said) => {
                    send(
                        live,
                        &shorten(&said.text, 2000),
                        said.progress.map(|p| p.clamp(0.0, 1.0)),
                    );
                }
                Err(_) => send(live, &shorten(&line, 2000), None),
            }
        }
    }
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default)]
    params: Value,
}

/// Answers calls one after the other, until the program hangs up or says something senseless.
async fn serve(mut stream: UnixStream, abilities: Arc<dyn Abilities>, granted: &[String]) {
    let mut splitter = Splitter::with_limit(LONGEST_CALL);
    let (mut buffer, mut lines, mut left) = (vec![0; 16 << 10], Vec::new(), MOST_CALLS);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if splitter
            .push(buffer.get(..count).unwrap_or_default(), &mut lines)
            .is_err()
        {
            return;
        }
        for line in lines.drain(..) {
            if left == 0 {
                return;
            }
            left -= 1;
            let answer = format!("{}\n", answer(&line, abilities.as_ref(), granted).await);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn answer(line: &str, abilities: &dyn Abilities, granted: &[String]) -> Value {
    let call: Call = match serde_json::from_str(line) {
        Ok(call) => call,
        Err(error) => return json!({ "id": null, "error": format!("not a call: {error}") }),
    };
    let done = match needed(&call.method) {
        _ if call.method == "llm" => match may_think(&call.params, granted) {
            Ok(()) => abilities.call(&call.method, call.params).await,
            Err(why) => Err(why),
        },
        None => Err(format!("`{}` is not an ability", call.method)),
        Some(need) if !granted.iter().any(|g| g == need) => {
            Err(format!("`{}` needs the permission `{need}`", call.method))
        }
        Some(_) => abilities.call(&call.method, call.params).await,
    };
    match done {
        Ok(result) => json!({ "id": call.id, "result": result }),
        Err(error) => json!({ "id": call.id, "error": output::safe(&error) }),
    }
}

/// Whether a task was granted: all of them by `llm`, one by `llm:TASK`.
fn may_think(params: &Value, granted: &[String]) -> Result<(), String> {
    let word = params.get("task").and_then(Value::as_str);
    let word = word.unwrap_or(Task::Agent.as_str());
    let task = match Task::parse(word) {
        Some(Task::Embed) => return Err("`llm` answers with text; it does not embed".to_owned()),
        Some(task) => task,
        None => {
            let known = Task::ALL.map(Task::as_str).join(", ");
            return Err(format!("there is no task `{word}`; there are {known}"));
        }
    };
    let grants = |permission: &String| match permission.split_once(':') {
        None => permission == "llm",
        Some((ability, word)) => ability == "llm" && Task::parse(word) == Some(task),
    };
    if granted.iter().any(grants) {
        Ok(())
    } else {
        Err(format!(
            "`llm` for `{task}` needs the permission `llm:{task}`, or `llm` for every task"
        ))
    }
}

/// The permission that a method needs.
fn needed(method: &str) -> Option<&'static str> {
    match method {
        "memory.search" => Some("memory:read"),
        "memory.add" => Some("memory:write"),
        "message.send" => Some("message:send"),
        _ if method.starts_with("schedule.") => Some("schedule"),
        _ => None,
    }
}
