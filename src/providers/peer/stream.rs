//! A streamed answer: bytes to frames to deltas, with an end that is always told.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{Opened, Peer, halves::Halves, not_begun};
use crate::{
    net::{
        lines::{Oversized, Splitter},
        sse,
    },
    providers::{Answer, ProviderError},
    types::chat::{Call, Delta, Stop, Usage},
};

/// The most that one answer may have.
const LONGEST: usize = 32 << 20;

/// How long we wait for the counts that some send after the end.
const GRACE: Duration = Duration::from_secs(5);

/// How long we wait for the end of the body after the end of the answer.
const MOMENT: Duration = Duration::from_millis(20);

/// How an answer is cut into frames.
#[derive(Debug)]
pub(in crate::providers) enum Framing {
    /// Server-sent events; a frame is the data of one.
    Sse(sse::Parser),
    /// A line is a frame.
    Lines(Splitter),
    /// All of it is one frame: a server that does not stream.
    Whole(Vec<u8>),
}

/// Where an answer stands after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::providers) enum Progress {
    /// Nothing of it has come yet.
    Waiting,
    /// In its middle: if it stops here, it was cut.
    Middle,
    /// Said why it ended; only counts can follow.
    Ending,
    /// At its end.
    Last,
}

/// What an answer ends with.
#[derive(Default)]
pub(in crate::providers) struct Ending {
    /// What the model wants back with this answer.
    pub(in crate::providers) kept: Vec<Value>,
    pub(in crate::providers) calls: Vec<Call>,
    pub(in crate::providers) usage: Usage,
    pub(in crate::providers) stop: Stop,
}

/// What the frames of a wire format mean.
pub(in crate::providers) trait Dialect: Send + 'static {
    /// Takes a frame and adds the text and the thoughts in it.
    fn frame(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<Progress, ProviderError>;

    /// Called once, after the last frame.
    fn end(&mut self) -> Ending;
}

pub(super) fn read<D: Dialect>(
    peer: &Peer,
    Opened { response, due }: Opened,
    mut framing: Framing,
    (model, dialect): (&str, D),
) -> Result<Answer, ProviderError> {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|v| v.to_str().ok()).unwrap_or_default();
    if kind.starts_with("text/html") {
        let detail = "a web page came instead of an answer; check base_url";
        return Err(ProviderError::garbled(&peer.name, detail));
    }
    if matches!(framing, Framing::Sse(_)) && kind.starts_with("application/json") {
        framing = Framing::Whole(Vec::new());
    }
    let reader = Box::new(Reader {
        provider: peer.name.clone(),
        by: peer.by(model),
        due,
        first: peer.first,
        stall: peer.stall,
        body: response.bytes_stream().boxed(),
        framing,
        halves: Halves::default(),
        dialect,
        progress: Progress::Waiting,
        size: 0,
        out: VecDeque::new(),
        failure: None,
        over: false,
    });
    let next = |mut reader: Box<Reader<D>>| async move {
        let delta = reader.next().await?;
        Some((delta, reader))
    };
    Ok(stream::unfold(reader, next).boxed())
}

struct Reader<D> {
    provider: String,
    by: String,
    /// When the first word is due, and how long that was.
    due: Instant,
    first: Duration,
    stall: Duration,
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    framing: Framing,
    halves: Halves,
    dialect: D,
    progress: Progress,
    size: usize,
    out: VecDeque<Delta>,
    failure: Option<ProviderError>,
    over: bool,
}

impl<D: Dialect> Reader<D> {
    async fn next(&mut self) -> Option<Result<Delta, ProviderError>> {
        loop {
            if let Some(delta) = self.out.pop_front() {
                return Some(Ok(delta));
            }
            if self.over {
                return self.failure.take().map(Err);
            }
            if let Err(failure) = self.advance().await {
                self.failure = Some(failure);
                self.over = true;
            }
            if self.over {
                self.close().await;
            }
        }
    }

    /// A body that is read to its end leaves its connection for the next request; the end may come
    /// a moment after the last frame.
    async fn close(&mut self) {
        let mut body = std::mem::replace(&mut self.body, stream::empty().boxed());
        if self.failure.is_none() {
            let rest = async { while let Some(Ok(_)) = body.next().await {} };
            timeout(MOMENT, rest).await.ok();
        }
    }

    /// Reads on by one piece of the body.
    async fn advance(&mut self) -> Result<(), ProviderError> {
        let limit = match self.progress {
            Progress::Waiting => self.due.saturating_duration_since(Instant::now()),
            Progress::Middle => self.stall,
            _ => self.stall.min(GRACE),
        };
        match timeout(limit, self.body.next()).await {
            Ok(Some(Ok(bytes))) => {
                let frames = self.frames(&bytes)?;
                self.take(&frames)
            }
            Ok(None) => {
                let frames = self.last_frames();
                self.take(&frames)?;
                self.stopped(|_| "it ended its answer in the middle".to_owned())
            }
            Ok(Some(Err(_broken))) => {
                self.stopped(|_| "the connection broke in the middle of its answer".to_owned())
            }
            Err(_silent) if self.progress == Progress::Waiting => {
                Err(ProviderError::down(&self.provider, &not_begun(self.first)))
            }
            Err(_silent) => {
                self.stopped(|stall| format!("it stopped sending for {} s", stall.as_secs()))
            }
        }
    }

    fn frames(&mut self, bytes: &[u8]) -> Result<Vec<String>, ProviderError> {
        self.size += bytes.len();
        let fits = if self.size > LONGEST {
            Err(Oversized(LONGEST))
        } else {
            Ok(())
        };
        let mut frames = Vec::new();
        fits.and_then(|()| match &mut self.framing {
            Framing::Sse(parser) => {
                let mut events = Vec::new();
                parser.push(bytes, &mut events)?;
                frames.extend(events.into_iter().map(|event| event.data));
                Ok(())
            }
            Framing::Lines(splitter) => splitter.push(bytes, &mut frames),
            Framing::Whole(all) => {
                all.extend_from_slice(bytes);
                Ok(())
            }
        })
        .map_err(|e| ProviderError::garbled(&self.provider, &e.to_string()))?;
        Ok(frames)
    }

    fn last_frames(&mut self) -> Vec<String> {
        match &mut self.framing {
            Framing::Sse(parser) => {
                let mut events = Vec::new();
                parser.finish(&mut events);
                events.into_iter().map(|event| event.data).collect()
            }
            Framing::Lines(splitter) => {
                let mut lines = Vec::new();
                splitter.finish(&mut lines);
                lines
            }
            Framing::Whole(all) => vec![String::from_utf8_lossy(all).into_owned()],
        }
    }

    fn take(&mut self, frames: &[String]) -> Result<(), ProviderError> {
        let empty = |delta: &Delta| matches!(delta, Delta::Text(piece) | Delta::Reasoning(piece) if piece.is_empty());
        let mut deltas = Vec::new();
        for frame in frames {
            let mended = self.halves.mend(frame);
            let frame = mended.as_deref().unwrap_or(frame);
            let progress = self.dialect.frame(frame, &mut deltas);
            self.out
                .extend(deltas.drain(..).filter(|delta| !empty(delta)));
            self.progress = progress?;
            if self.progress == Progress::Last {
                self.end();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Nothing more will come.
    fn stopped(&mut self, why: impl FnOnce(Duration) -> String) -> Result<(), ProviderError> {
        match self.progress {
            Progress::Waiting | Progress::Middle => {
                Err(ProviderError::down(&self.provider, &why(self.stall)))
            }
            Progress::Ending => {
                self.end();
                Ok(())
            }
            Progress::Last => Ok(()),
        }
    }

    fn end(&mut self) {
        let Ending {
            kept,
            calls,
            usage,
            stop,
        } = self.dialect.end();
        if !kept.is_empty() {
            self.out.push_back(Delta::Kept {
                by: std::mem::take(&mut self.by),
                parts: kept,
            });
        }
        self.out.extend(calls.into_iter().map(Delta::Call));
        self.out.push_back(Delta::Done { usage, stop });
        self.over = true;
    }
}
