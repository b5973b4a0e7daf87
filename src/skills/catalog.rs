//! What skills there are, and which may be used. The files decide what there is, a person decides
//! what is trusted; a change of content sets the decision back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{Config, Record, Skill, State, permission::Permission, scan, shipped, watch};
use crate::types::Timestamp;

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

    /// The record of a decision; it holds once it was saved and given to [`Catalog::set_records`].
    ///
    /// # Errors
    /// When there is no such skill, or nothing of it that could be trusted.
    pub fn decide(
        &self,
        name: &str,
        (trusted, enabled): (Option<bool>, Option<bool>),
        (actor, now): (&str, Timestamp),
    ) -> Result<Record, String> {
        let skill = self
            .get(name)
            .ok_or_else(|| format!("there is no skill `{name}`"))?;
        let records = self.inner.records.load();
        let known = records.iter().find(|r| r.name == name).cloned();
        let mut record = known.unwrap_or_else(|| blank(&skill, now));
        match trusted {
            Some(true) if skill.broken.is_some() => {
                return Err(format!(
                    "`{name}` cannot be trusted: it is broken: {}",
                    skill.reason
                ));
            }
            Some(true) => {
                record.trusted_hash = Some(skill.hash.clone());
                record.trusted_by = Some(actor.to_owned());
                record.trusted_at = Some(now);
                record.permissions = asked(&skill);
            }
            Some(false) if skill.shipped => {
                return Err(format!(
                    "`{name}` came with the program and is trusted as it is; disable it instead"
                ));
            }
            Some(false) => {
                (record.trusted_hash, record.trusted_by, record.trusted_at) = (None, None, None);
                record.permissions.clear();
            }
            None => {}
        }
        record.enabled = enabled.unwrap_or(record.enabled);
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

    /// Shows skills, each in its state.
    fn judge(&self, skills: Vec<Skill>) {
        let records = self.inner.records.load();
        let before = self.inner.skills.load_full();
        let record = |skill: &Skill| records.iter().find(|r| r.name == skill.name);
        let judged = skills.into_iter().map(|skill| {
            let record = record(&skill);
            let mut skill = judge(skill, record);
            if matches!(skill.state, State::Trusted | State::Unavailable) {
                let given = self.inner.config.grants.get(&skill.name).into_iter();
                skill.granted.extend(given.flatten().cloned());
            }
            Arc::new(skill)
        });
        let judged: Vec<Arc<Skill>> = judged.collect();
        tell(&before, &judged);
        self.inner.skills.store(Arc::new(judged));
    }
}

fn asked(skill: &Skill) -> Vec<String> {
    skill
        .manifest
        .permissions
        .iter()
        .map(Permission::to_string)
        .collect()
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

fn judge(mut skill: Skill, record: Option<&Record>) -> Skill {
    let trusted = record.filter(|r| r.trusted_hash.is_some());
    let same = trusted.is_some_and(|r| r.trusted_hash.as_deref() == Some(skill.hash.as_str()));
    let (state, reason) = if let Some(why) = &skill.broken {
        (State::Broken, why.clone())
    } else if record.is_some_and(|r| !r.enabled) {
        (State::Disabled, "it was switched off".to_owned())
    } else if !skill.shipped && !same && trusted.is_some() {
        let text = "its files are not those that were trusted; look at them, then trust it again";
        (State::Changed, text.to_owned())
    } else if !skill.shipped && !same {
        (State::Discovered, discovered(&skill))
    } else if let Some(what) = &skill.missing {
        (State::Unavailable, what.clone())
    } else {
        (State::Trusted, String::new())
    };
    let granted = |p: &Permission| {
        skill.shipped || record.is_some_and(|r| r.permissions.iter().any(|g| g == p.as_str()))
    };
    skill.granted = match state {
        State::Trusted | State::Unavailable => skill
            .manifest
            .permissions
            .iter()
            .filter(|p| granted(p))
            .cloned()
            .collect(),
        _ => Vec::new(),
    };
    (skill.state, skill.reason) = (state, reason);
    skill
}

fn discovered(skill: &Skill) -> String {
    let asked = asked(skill);
    if asked.is_empty() {
        "it is new; trust it to use it".to_owned()
    } else {
        format!(
            "it is new and asks for {}; trust it to use it",
            asked.join(", ")
        )
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
            State::Broken | State::Changed => {
                tracing::warn!(skill = name, state, "{}", skill.reason);
            }
            _ => tracing::debug!(skill = name, state, "{}", skill.reason),
        }
    }
}

#[cfg(test)]
mod tests;
