//! The daemon's side of a run: start the launcher, collect, decide how it ended.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, pending};
use nix::unistd::{Gid, Uid, fchown};
use tokio::{
    io::{AsyncReadExt as _, Interest},
    net::{UnixStream, unix::pipe},
    process::Child,
    sync::mpsc,
    time::{Instant as Deadline, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, End, Job, Live, Network, Outcome, Output, SandboxError, Stream, check, either_way,
    gate,
    launchers::{Groups, Launcher, Launchers},
    output::Keep,
    policy::{Early, Plan, Policy, Word},
    report::Found,
    wire,
};

/// How long the launcher may take to end a run before it is ended itself.
const PATIENCE: Duration = Duration::from_millis(350);
/// The same where it must find every process itself; ended too early, it would leave some.
const PATIENCE_DEGRADED: Duration = Duration::from_secs(5);
/// How long output may lag behind the end: all writers are dead by then.
const LAG: Duration = Duration::from_millis(200);
/// Most bytes of the launcher's own words.
const MAX_WORDS: usize = 64 << 10;

/// What a trial run said.
#[derive(Debug, Default)]
pub(super) struct Trial {
    pub(super) words: Vec<Word>,
    pub(super) failed: Option<String>,
}

/// Runs a job to its end.
pub(super) async fn run(
    config: &Config,
    (found, launchers): (&Found, &Arc<Launchers>),
    job: Job,
    cancel: &CancellationToken,
) -> Result<Outcome, SandboxError> {
    let started = Instant::now();
    check::supported(found, &job)?;
    check::job(&job)?;
    let policy = check::policy(&job, found);
    let label = job.label.clone();
    let early = Early::of(&policy.plan);
    let session = match launchers.waiting(&early) {
        Some(launcher) => Session::start(config, launcher, &policy, &job).await.ok(),
        None => None,
    };
    let mut session = match session {
        Some(session) => session,
        None => fresh(config, launchers, &policy, &job)
            .await
            .map_err(start)?,
    };
    launchers.refill(early);
    let end = session.follow(cancel).await?;
    let (stdout, stderr) = session.finish().await;
    let elapsed = started.elapsed();
    let mode = found.report.mode;
    tracing::info!(
        skill = label,
        sandbox = mode.as_str(),
        ?end,
        ?elapsed,
        "a program ran"
    );
    Ok(Outcome {
        end,
        stdout,
        stderr,
        elapsed,
        mode,
    })
}

async fn fresh(
    config: &Config,
    launchers: &Launchers,
    policy: &Policy,
    job: &Job,
) -> io::Result<Session> {
    let launcher = launchers.start(Early::of(&policy.plan))?;
    Session::start(config, launcher, policy, job).await
}

/// Builds a sandbox by `plan` and has it look around.
pub(super) async fn trial(
    config: &Config,
    launchers: &Launchers,
    (plan, network): (Plan, Network),
    uid: Option<u32>,
) -> Trial {
    let job = Job {
        network,
        ..Job::new(["trial"])
    };
    let policy = check::trial(&job, plan, uid);
    let ended = match fresh(config, launchers, &policy, &job).await {
        Ok(mut session) => {
            let end = session.follow(&CancellationToken::new()).await;
            (end, std::mem::take(&mut session.words))
        }
        Err(error) => (Err(start(error)), Vec::new()),
    };
    let (end, words) = ended;
    let failed = match end {
        Ok(End::Exited(0)) => None,
        Ok(end) => Some(format!("the trial ended with {end:?}")),
        Err(error) => Some(error.to_string()),
    };
    Trial { words, failed }
}

fn start(source: io::Error) -> SandboxError {
    SandboxError::Start {
        stage: "start the launcher".to_owned(),
        source,
    }
}

/// One output stream.
#[derive(Debug)]
struct Reader {
    pipe: Option<pipe::Receiver>,
    keep: Keep,
    buffer: Vec<u8>,
}

impl Reader {
    fn new(end: OwnedFd, limit: usize) -> io::Result<Self> {
        Ok(Self {
            pipe: Some(pipe::Receiver::from_owned_fd(end)?),
            keep: Keep::new(limit),
            buffer: Vec::with_capacity(16 << 10),
        })
    }

    /// The next piece; never ready once the stream has ended.
    async fn next(&mut self) -> io::Result<usize> {
        let Some(pipe) = &mut self.pipe else {
            return pending().await;
        };
        self.buffer.clear();
        let count = pipe.read_buf(&mut self.buffer).await.unwrap_or(0);
        if count == 0 {
            self.pipe = None;
        }
        Ok(count)
    }

    /// What is left once the program has ended; whoever watches sees that too.
    async fn drain(mut self, stream: Stream, live: Option<&mpsc::Sender<Live>>) -> Output {
        let all = async {
            while self.pipe.is_some() && self.next().await.is_ok_and(|count| count > 0) {
                self.keep.push(&self.buffer);
                if let Some(live) = live {
                    let text = self.buffer.clone();
                    either_way(live.try_send(Live { stream, text }));
                }
            }
        };
        // A stream that stays open is held by nobody that still runs; what came is what there is.
        either_way(timeout(LAG, all).await);
        self.keep.finish()
    }
}

enum Happened {
    Said(io::Result<(usize, Vec<OwnedFd>)>),
    Wrote(Stream),
    Cancelled,
    Late,
}

struct Session {
    control: UnixStream,
    launcher: Child,
    _groups: Groups,
    stdout: Reader,
    stderr: Reader,
    live: Option<mpsc::Sender<Live>>,
    gate: BoxFuture<'static, ()>,
    guard: Option<gate::Guard>,
    forwards: Vec<gate::Forward>,
    listeners: Vec<OwnedFd>,
    heard: Vec<u8>,
    words: Vec<Word>,
    most: u64,
    late: Deadline,
    patience: Duration,
    decided: Option<End>,
}

impl Session {
    /// Tells a launcher what to run.
    async fn start(
        config: &Config,
        launcher: Launcher,
        policy: &Policy,
        job: &Job,
    ) -> io::Result<Self> {
        if let Some(uid) = policy.uid {
            // A program that opens /dev/stderr opens the pipe anew, by its owner's right.
            for pipe in [&launcher.stdout, &launcher.stderr] {
                fchown(pipe, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
            }
        }
        let groups = launcher.groups();
        let mut control = UnixStream::from_std(launcher.control)?;
        wire::tell(&mut control, policy, job).await?;
        let limits = &policy.limits;
        let patience = if policy.plan.namespaces {
            PATIENCE
        } else {
            PATIENCE_DEGRADED
        };
        let guard = match &job.network {
            Network::Gate(reach) => {
                Some(gate::Guard::new(config, reach.clone(), job.label.clone()))
            }
            _ => None,
        };
        Ok(Self {
            control,
            launcher: launcher.process,
            _groups: groups,
            stdout: Reader::new(launcher.stdout, limits.output_bytes)?,
            stderr: Reader::new(launcher.stderr, limits.output_bytes)?,
            live: job.live.clone(),
            gate: Box::pin(pending()),
            guard,
            forwards: policy.forwards.clone(),
            listeners: Vec::new(),
            heard: Vec::new(),
            words: Vec::new(),
            most: (config.max_output_mb << 20).max(limits.output_bytes as u64),
            late: Deadline::now() + limits.wall + patience,
            patience,
            decided: None,
        })
    }

    /// Until the launcher says how it ended.
    async fn follow(&mut self, cancel: &CancellationToken) -> Result<End, SandboxError> {
        loop {
            match self.next(cancel).await {
                Happened::Said(Ok((count, fds))) if count > 0 => {
                    if let Some(end) = self.listen(fds)? {
                        return Ok(self.decided.unwrap_or(end));
                    }
                }
                Happened::Said(_) => return self.lost(),
                Happened::Wrote(stream) => self.took(stream),
                Happened::Cancelled => self.ask(End::Cancelled),
                Happened::Late => {
                    // Its children go with it, as does all that they started.
                    either_way(self.launcher.start_kill());
                    return Ok(self.decided.unwrap_or(End::TimedOut));
                }
            }
        }
    }

    async fn next(&mut self, cancel: &CancellationToken) -> Happened {
        let Self {
            control,
            stdout,
            stderr,
            gate,
            heard,
            ..
        } = self;
        let said = async {
            let mut bytes = [0; 4096];
            let read = || wire::receive_with(control.as_fd(), &mut bytes);
            let got = control.async_io(Interest::READABLE, read).await;
            if let Ok((count, _)) = &got {
                heard.extend(bytes.iter().take(*count));
            }
            got
        };
        tokio::select! {
            said = said => Happened::Said(said),
            _ = stdout.next() => Happened::Wrote(Stream::Stdout),
            _ = stderr.next() => Happened::Wrote(Stream::Stderr),
            () = cancel.cancelled(), if self.decided.is_none() => Happened::Cancelled,
            () = sleep_until(self.late) => Happened::Late,
            () = gate => Happened::Cancelled,
        }
    }

    /// Lines of the launcher; `Some` if one of them is an end.
    fn listen(&mut self, mut fds: Vec<OwnedFd>) -> Result<Option<End>, SandboxError> {
        while let Some(end) = self.heard.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            let end = match Word::parse(String::from_utf8_lossy(&line).trim_end()) {
                Some(Word::Listener) => {
                    self.open_gate(fds.pop());
                    continue;
                }
                Some(found @ Word::Found(..)) => {
                    self.words.push(found);
                    continue;
                }
                Some(Word::Failed(stage, errno)) => return self.failed(stage, errno).map(Some),
                Some(Word::Exited(code)) => End::Exited(code),
                Some(Word::Signalled(signal)) => End::Signalled(signal),
                Some(Word::TimedOut) => End::TimedOut,
                Some(Word::Memory) => End::MemoryLimit,
                Some(Word::Disk) => End::DiskLimit,
                None => return self.lost().map(Some),
            };
            return Ok(Some(end));
        }
        if self.heard.len() > MAX_WORDS {
            return self.lost().map(Some);
        }
        Ok(None)
    }

    /// Opens once all listeners are there: they come in the order of what they stand for.
    fn open_gate(&mut self, listener: Option<OwnedFd>) {
        self.listeners.extend(listener);
        if self.listeners.len() <= self.forwards.len() {
            return;
        }
        if let Some(guard) = self.guard.take() {
            let (listeners, forwards) = (&mut self.listeners, &mut self.forwards);
            let serving = guard.serve(std::mem::take(listeners), std::mem::take(forwards));
            self.gate = Box::pin(serving);
        }
    }

    /// A run that we ended ends as we said, wherever it stood.
    fn failed(&self, stage: String, errno: i32) -> Result<End, SandboxError> {
        let source = io::Error::from_raw_os_error(errno);
        self.decided.ok_or(SandboxError::Start { stage, source })
    }

    fn lost(&self) -> Result<End, SandboxError> {
        self.failed("the launcher ended without a word".to_owned(), libc::EPIPE)
    }

    fn took(&mut self, stream: Stream) {
        let reader = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        reader.keep.push(&reader.buffer);
        if let Some(live) = self.live.as_ref().filter(|_| !reader.buffer.is_empty()) {
            let text = reader.buffer.clone();
            // Whoever watches may be slow; the kept output is complete.
            either_way(live.try_send(Live { stream, text }));
        }
        if reader.keep.total() > self.most {
            self.ask(End::OutputLimit);
        }
    }

    /// Asks the launcher to end the run, once.
    fn ask(&mut self, end: End) {
        if self.decided.is_some() {
            return;
        }
        self.decided = Some(end);
        self.late = Deadline::now() + self.patience;
        // A closed socket says the same; a full one cannot be.
        either_way(self.control.try_write(b"K"));
    }

    async fn finish(self) -> (Output, Output) {
        let live = self.live.as_ref();
        tokio::join!(
            self.stdout.drain(Stream::Stdout, live),
            self.stderr.drain(Stream::Stderr, live)
        )
    }
}
