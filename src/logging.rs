//! The log: structured lines on standard error (and in a file), the newest kept for those who watch.
//! Every line is masked by value before it goes anywhere.

mod layer;
mod line;

use std::{
    collections::VecDeque,
    fs::File,
    path::PathBuf,
    str::FromStr as _,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

pub use line::Line;

/// Lines kept in memory.
const KEPT: usize = 1000;

/// What can be asked for.
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace", "off"];

/// `logging` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// `error`, `warn`, `info`, `debug` or `trace`; or per module, such as `info,nexflow::api=debug`.
    pub level: String,
    /// How lines look.
    pub format: Format,
    /// A file that lines are added to as well.
    pub file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: Format::Auto,
            file: None,
        }
    }
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For reading.
    #[serde(alias = "text")]
    Pretty,
}

/// What `level` asks for; the error says what is wrong with it. `warning` is taken for `warn`.
///
/// # Errors
/// When a level is none of ours.
pub fn directives(level: &str) -> Result<EnvFilter, String> {
    let mut parts = Vec::new();
    for part in level.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (target, level) = match part.rsplit_once('=') {
            Some((target, level)) => (Some(target), level.trim()),
            None => (None, part),
        };
        let level = level.to_ascii_lowercase();
        let level = if level == "warning" { "warn" } else { &level };
        match target {
            // A module without a level: everything that it says.
            None if level.contains("::") || level == "nexflow" => parts.push(part.to_owned()),
            _ if !LEVELS.contains(&level) => {
                return Err(format!("`{level}` is not one of {}", LEVELS.join(", ")));
            }
            None => parts.push(level.to_owned()),
            Some(target) => parts.push(format!("{target}={level}")),
        }
    }
    if parts.is_empty() {
        return Err(format!("it is empty, and not one of {}", LEVELS.join(", ")));
    }
    EnvFilter::from_str(&parts.join(",")).map_err(|e| format!("`{level}`: {e}"))
}

/// The running log. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

struct Inner {
    recent: Mutex<VecDeque<Arc<Line>>>,
    watchers: broadcast::Sender<Arc<Line>>,
    output: Mutex<Output>,
    filter: OnceLock<reload::Handle<EnvFilter, Registry>>,
}

#[derive(Default)]
struct Output {
    pretty: bool,
    quiet: bool,
    file: Option<File>,
}

static LOG: OnceLock<Handle> = OnceLock::new();

/// Starts the log of this process, or changes the settings of the one that runs.
pub fn start(config: &Config) -> Handle {
    let handle = LOG.get_or_init(|| {
        let handle = Handle {
            inner: Arc::new(Inner {
                recent: Mutex::default(),
                watchers: broadcast::channel(KEPT).0,
                output: Mutex::default(),
                filter: OnceLock::new(),
            }),
        };
        let (filter, reloader) = reload::Layer::new(EnvFilter::new("info"));
        // The first subscriber of a process stays; tests may start several daemons in one.
        let lines = layer::Lines {
            log: handle.clone(),
        };
        if tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .is_ok()
        {
            drop(handle.inner.filter.set(reloader));
            layer::log_panics(handle.clone());
        }
        handle
    });
    handle.set(config);
    handle.clone()
}

impl Handle {
    fn set(&self, config: &Config) {
        let filter = directives(&config.level).unwrap_or_else(|why| {
            self.complain(&format!("logging.level: {why}; using info"));
            EnvFilter::new("info")
        });
        if let Some(reloader) = self.inner.filter.get() {
            // It fails only when the subscriber is gone, and with it the log.
            drop(reloader.reload(filter));
        }
        let file = config.file.as_ref().and_then(|path| {
            let opened = File::options().create(true).append(true).open(path);
            opened
                .inspect_err(|e| self.complain(&format!("logging.file {}: {e}", path.display())))
                .ok()
        });
        let pretty = match config.format {
            Format::Pretty => true,
            Format::Json => false,
            Format::Auto => std::io::IsTerminal::is_terminal(&std::io::stderr()),
        };
        let mut output = self
            .inner
            .output
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        output.pretty = pretty;
        output.file = file;
    }

    /// Keeps lines off standard error: for commands whose own words matter.
    pub fn quiet(&self) {
        self.inner
            .output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .quiet = true;
    }

    fn complain(&self, text: &str) {
        self.take(Line::plain("warn", "nexflow::logging", text));
    }

    /// The newest lines at or above a level, oldest first.
    pub fn recent(&self, limit: usize, level: &str) -> Vec<Arc<Line>> {
        let recent = self
            .inner
            .recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let wanted = recent
            .iter()
            .rev()
            .filter(|line| line.is_at_least(level))
            .take(limit);
        let mut lines: Vec<Arc<Line>> = wanted.cloned().collect();
        lines.reverse();
        lines
    }

    /// Lines from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Line>> {
        self.inner.watchers.subscribe()
    }

    /// Masks a line, writes it, keeps it, shows it.
    fn take(&self, line: Line) {
        self.take_in(line, false);
    }

    /// The same, and on standard error even when that is quiet.
    fn take_loudly(&self, line: Line) {
        self.take_in(line, true);
    }

    fn take_in(&self, line: Line, loud: bool) {
        let line = line.masked();
        self.write(&line, loud);
        let line = Arc::new(line);
        let mut recent = self
            .inner
            .recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= KEPT {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&line));
        drop(recent);
        // Nobody watching is no error.
        drop(self.inner.watchers.send(line));
    }

    fn write(&self, line: &Line, loud: bool) {
        use std::io::Write as _;
        let mut output = self
            .inner
            .output
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let text = if output.pretty {
            line.pretty()
        } else {
            line.json()
        };
        // A log that cannot be written has nowhere to say so.
        if loud || !output.quiet {
            drop(std::io::stderr().lock().write_all(text.as_bytes()));
        }
        if let Some(file) = &mut output.file {
            drop(file.write_all(line.json().as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests;
