//! What skills there are, and which may be used. The files decide what there is, a person decides
//! what is trusted; a change of content sets the decision back.

mod judge;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{
    Config, Record, Skill, State, available,
    permission::{Grant, Permission},
    scan, shipped, watch,
};
use crate::types::Timestamp;
use judge::{Known, judge};
pub(super) use judge::{given, raw};

/// What a person wants to have done with a skill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Trust it as it is, or not any more.
    pub trusted: Option<bool>,
    /// Use it, or do not.
    pub enabled: Option<bool>,
    /// The content that the person looked at; nothing else is trusted then.
    pub hash: Option<String>,
    /// Secrets that it gets as they are, though it asks for a stand-in only.
    pub raw_secrets: Vec<String>,
}

impl From<(Option<bool>, Option<bool>)> for Wish {
    fn from((trusted, enabled): (Option<bool>, Option<bool>)) -> Self {
        Self {
            trusted,
            enabled,
            ..Self::default()
        }
    }
}

/// Why a wish is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no skill of this name.
    #[error("there is no skill `{0}`")]
    Unknown(String),
    /// It is not what the person looked at.
    #[error(
        "the files of `{0}` changed since they were looked at; look at what is different now (`nexflow skill diff {0}`), then trust it"
    )]
    Stale(String),
    /// It cannot be done at all.
    #[error("{0}")]
    Cannot(String),
}

/// All skills. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    path_env: String,
    skills: ArcSwap<Vec<Arc<Skill>>>,
    records: ArcSwap<Vec<Record>>,
    /// Contents of our own skills that once stood here unchanged: folder and hash.
    history: ArcSwap<BTreeSet<(String, String)>>,
    /// Held from reading to showing: what was read earlier never replaces what was read later.
    changing: Mutex<()>,
}

impl Catalog {
    /// An empty catalog; programs are looked for in `path_env`.
    pub fn new(config: &Config, path_env: &str) -> Self {
        Self {
            inner: Arc::new(Inner {
                config: config.clone(),
                path_env: path_env.to_owned(),
                skills: ArcSwap::default(),
                records: ArcSwap::default(),
                history: ArcSwap::default(),
                changing: Mutex::new(()),
            }),
        }
    }

    /// Reads the directory; makes it, with the shipped skills, if it does not exist. Blocks.
    pub fn load(&self) {
        let Inner {
            config, path_env, ..
        } = self.inner.as_ref();
        let _alone = self.alone();
        let shown = config.directory.display();
        if !config.directory.exists()
            && let Err(error) = shipped::unpack(&config.directory)
        {
            tracing::warn!("the shipped skills cannot be written to {shown}: {error}");
        }
        match scan::scan(config, path_env) {
            Ok(found) => self.judge(found),
            Err(error) => {
                tracing::warn!("no skills: {error}");
                self.judge(Vec::new());
            }
        }
    }

    /// Puts the skills that come with this version in the place of older ones that nobody edited.
    /// `history` are the contents of our skills that once stood here unchanged: folder and hash.
    /// Blocks.
    pub fn renew(&self, history: impl IntoIterator<Item = (String, String)>) {
        let history: BTreeSet<(String, String)> = history.into_iter().collect();
        let directory = &self.inner.config.directory;
        for (folder, outcome) in shipped::renew(directory, &history) {
            match outcome {
                Ok(()) => tracing::info!(
                    skill = folder,
                    "replaced an older copy that nobody had edited by the one of this version"
                ),
                Err(error) => tracing::warn!(
                    skill = folder,
                    "the older copy of this skill cannot be replaced: {error}"
                ),
            }
        }
        self.inner.history.store(Arc::new(history));
    }

    /// Contents of our own skills that stand here unchanged, to be remembered: folder and hash.
    pub fn shipped(&self) -> Vec<(String, String)> {
        let skills = self.snapshot();
        let ours = skills.iter().filter(|s| s.shipped);
        ours.map(|s| (s.folder(), s.hash.clone())).collect()
    }

    /// A script of an instruction skill as something to run, with what the skill was granted.
    ///
    /// # Errors
    /// Where it is not a file of the skill's folder, or nothing here interprets it.
    pub fn script(&self, skill: &Skill, path: &str) -> Result<Skill, String> {
        let found = available::script(&skill.dir, path, &self.inner.path_env)?;
        let mut script = skill.clone();
        script.manifest.location = Some(path.to_owned());
        script.runtime = Some(found.0);
        script.interpreter = Some(found.1);
        Ok(script)
    }

    /// Follows changes of the directory until cancelled.
    ///
    /// # Errors
    /// When the directory cannot be watched.
    pub async fn watch(&self, cancel: CancellationToken) -> Result<(), String> {
        if !self.inner.config.watch {
            cancel.cancelled().await;
            return Ok(());
        }
        watch::follow(self, &self.inner.config.directory, cancel).await
    }

    /// All skills as they are now.
    pub fn snapshot(&self) -> Arc<Vec<Arc<Skill>>> {
        self.inner.skills.load_full()
    }

    /// One by its name.
    pub fn get(&self, name: &str) -> Option<Arc<Skill>> {
        self.inner
            .skills
            .load()
            .iter()
            .find(|s| s.name == name)
            .cloned()
    }

    /// Takes the decisions that are kept.
    pub fn set_records(&self, records: Vec<Record>) {
        let _alone = self.alone();
        self.inner.records.store(Arc::new(records));
        let skills = self.inner.skills.load_full();
        self.judge(skills.iter().map(|s| s.as_ref().clone()).collect());
    }

    /// The decision that is kept about a skill.
    pub fn record(&self, name: &str) -> Option<Record> {
        let records = self.inner.records.load();
        records.iter().find(|r| r.name == name).cloned()
    }

    /// The record of a decision; it holds once it was saved and given to [`Catalog::set_records`].
    ///
    /// # Errors
    /// When there is no such skill, it is not what was looked at, or nothing that could be trusted.
    pub fn decide(
        &self,
        name: &str,
        wish: impl Into<Wish>,
        (actor, now): (&str, Timestamp),
    ) -> Result<Record, Refusal> {
        let wish = wish.into();
        let skill = self
            .get(name)
            .ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        let known = self.record(name);
        let mut record = known.unwrap_or_else(|| blank(&skill, now));
        match wish.trusted {
            Some(true) => {
                record.permissions = allowed(&skill, &wish)?;
                record.trusted_hash = Some(skill.hash.clone());
                record.trusted_by = Some(actor.to_owned());
                record.trusted_at = Some(now);
            }
            Some(false) if skill.shipped => {
                return Err(Refusal::Cannot(format!(
                    "`{name}` came with the program and is trusted as it is; disable it instead"
                )));
            }
            Some(false) => {
                (record.trusted_hash, record.trusted_by, record.trusted_at) = (None, None, None);
                record.permissions.clear();
            }
            None => {}
        }
        record.enabled = wish.enabled.unwrap_or(record.enabled);
        record.version = skill.manifest.version.clone().unwrap_or_default();
        record.location = skill.dir.display().to_string();
        record.metadata = skill.manifest.metadata.clone();
        record.updated_at = now;
        Ok(record)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.inner
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What stood here unchanged, with what does now.
    fn remember(&self, skills: &[Skill]) -> Arc<BTreeSet<(String, String)>> {
        let history = self.inner.history.load_full();
        let ours = skills.iter().filter(|s| s.shipped);
        let new: Vec<(String, String)> = ours
            .map(|s| (s.folder(), s.hash.clone()))
            .filter(|pair| !history.contains(pair))
            .collect();
        if new.is_empty() {
            return history;
        }
        let all = Arc::new(history.iter().cloned().chain(new).collect());
        self.inner.history.store(Arc::clone(&all));
        all
    }

    /// Shows skills, each in its state.
    fn judge(&self, skills: Vec<Skill>) {
        let records = self.inner.records.load();
        let before = self.inner.skills.load_full();
        let history = self.remember(&skills);
        let judged = skills.into_iter().map(|skill| {
            let folder = skill.folder();
            let known = Known {
                record: records.iter().find(|r| r.name == skill.name),
                was_shipped: skill.differs && history.iter().any(|(f, _)| *f == folder),
            };
            Arc::new(judge(skill, &known))
        });
        let judged: Vec<Arc<Skill>> = judged.collect();
        tell(&before, &judged);
        self.inner.skills.store(Arc::new(judged));
    }
}

/// What a skill is allowed by this wish: what it asks for, with secrets as they are where the person
/// says so.
fn allowed(skill: &Skill, wish: &Wish) -> Result<Vec<String>, Refusal> {
    let name = &skill.name;
    if skill.broken.is_some() {
        let reason = &skill.reason;
        let text = format!("`{name}` cannot be trusted: it is broken: {reason}");
        return Err(Refusal::Cannot(text));
    }
    if wish.hash.as_ref().is_some_and(|seen| *seen != skill.hash) {
        return Err(Refusal::Stale(name.clone()));
    }
    let secret = |p: &Permission, wanted: &String| matches!(p.grant(), Grant::Secret { name, .. } if name == wanted);
    for wanted in &wish.raw_secrets {
        if !skill.manifest.permissions.iter().any(|p| secret(p, wanted)) {
            let text =
                format!("`{name}` asks for no secret `{wanted}`, so its value cannot be granted");
            return Err(Refusal::Cannot(text));
        }
    }
    let asks = skill.manifest.permissions.iter();
    let allowed = asks.map(|p| {
        let plain = wish.raw_secrets.iter().any(|wanted| secret(p, wanted));
        let raw = plain.then(|| raw(p)).flatten();
        raw.as_ref().unwrap_or(p).to_string()
    });
    let mut allowed: Vec<String> = allowed.collect();
    allowed.dedup();
    Ok(allowed)
}

/// A record that decides nothing.
fn blank(skill: &Skill, now: Timestamp) -> Record {
    Record {
        name: skill.name.clone(),
        version: String::new(),
        location: String::new(),
        permissions: Vec::new(),
        metadata: skill.manifest.metadata.clone(),
        trusted_hash: None,
        trusted_by: None,
        trusted_at: None,
        enabled: true,
        updated_at: now,
    }
}

/// Says what became of each skill whose state is another now.
fn tell(before: &[Arc<Skill>], now: &[Arc<Skill>]) {
    for skill in now {
        let was = before.iter().find(|s| s.dir == skill.dir);
        if was.is_some_and(|was| was.state == skill.state && was.reason == skill.reason) {
            continue;
        }
        let (name, state) = (&skill.name, skill.state.as_str());
        match skill.state {
            State::Broken | State::Quarantined => {
                tracing::warn!(skill = name, state, "{}", skill.reason);
            }
            _ => tracing::debug!(skill = name, state, "{}", skill.reason),
        }
    }
}

#[cfg(test)]
mod tests;
