//! Reminders and repeated jobs: when they are due, and keeping them. Firing them is the
//! orchestrator's business.

mod when;

use std::{str::FromStr as _, sync::Arc, time::Duration};

use chrono::Utc;
use chrono_tz::Tz;
use croner::Cron;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub use when::{When, WhenError};

use crate::{
    store::{
        Store, StoreError, Tx,
        audit::{self, Entry, Origin},
        schedules::{self, Kind, Schedule},
        users,
    },
    types::{Clock, Place, ScheduleId, Timestamp, UserId},
};

/// `scheduler` in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// IANA name of the zone in which times of day are meant; the system's if absent.
    pub time_zone: Option<String>,
}

/// Schedules that a person may have at once.
const MOST: usize = 500;

/// Why a schedule was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The time was not understood or cannot be.
    #[error(transparent)]
    When(#[from] WhenError),
    /// There are too many.
    #[error("there are {MOST} reminders already; remove some with `/remind cancel ID`")]
    TooMany,
    /// There is none with this id.
    #[error("there is no reminder {0}")]
    Unknown(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a new schedule does.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Says a text, runs a skill, or asks the agent.
    pub kind: Kind,
    /// Which skill.
    pub skill: Option<String>,
    /// The text, or the skill's input.
    pub input: Value,
}

/// Keeps schedules. Cheap to clone.
#[derive(Clone)]
pub struct Schedules {
    store: Store,
    clock: Clock,
    zone: Tz,
    changed: Arc<Notify>,
}

impl Schedules {
    /// Keeps schedules in `store`; times of day are meant in the configured zone.
    pub fn new(store: Store, clock: Clock, config: &Config) -> Self {
        Self {
            store,
            clock,
            zone: zone(config),
            changed: Arc::default(),
        }
    }

    /// The zone in which times of day are meant.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// A moment as people here would write it.
    pub fn show(&self, at: Timestamp) -> String {
        show(at, self.clock.now(), self.zone)
    }

    /// Makes a schedule from a time as people write it: "in 20 minutes", "tomorrow at 9",
    /// "every monday at 8:30", a cron expression, RFC 3339.
    pub async fn add(
        &self,
        place: &Place,
        job: Job,
        when: &str,
    ) -> Result<Schedule, ScheduleError> {
        let now = self.clock.now();
        let when = When::parse(when, now, self.zone)?;
        let schedule = Schedule {
            id: ScheduleId::new(),
            session_id: place.session,
            user_id: place.user,
            address: place.address.clone(),
            external_user: place.external_user.clone(),
            kind: job.kind,
            skill: job.skill,
            input: job.input,
            next_at: Some(when.first(now, self.zone)?),
            cron: when.cron().map(str::to_owned),
            time_zone: self.zone.name().to_owned(),
            enabled: true,
            created_at: now,
        };
        let row = schedule.clone();
        let written = self.store.write(move |tx| {
            if schedules::list(tx, Some(row.user_id))?.len() >= MOST {
                return Ok(false);
            }
            schedules::insert(tx, &row)?;
            note(tx, (&row, "schedule.add"), now)?;
            Ok(true)
        });
        if !written.await? {
            return Err(ScheduleError::TooMany);
        }
        self.changed.notify_waiters();
        Ok(schedule)
    }

    /// What will fire for a user, or for all, the next first.
    pub async fn list(&self, user: Option<UserId>) -> Result<Vec<Schedule>, ScheduleError> {
        Ok(self.store.read(move |c| schedules::list(c, user)).await?)
    }

    /// Removes a schedule by its id, or the end of its id that lists show.
    pub async fn remove(&self, user: Option<UserId>, id: &str) -> Result<Schedule, ScheduleError> {
        let wanted = id.trim().to_lowercase();
        let found = self.list(user).await?.into_iter().find(|s| {
            let full = s.id.to_string();
            full == wanted || (wanted.len() >= 4 && full.ends_with(&wanted))
        });
        let schedule = found.ok_or_else(|| ScheduleError::Unknown(id.to_owned()))?;
        let (row, now) = (schedule.clone(), self.clock.now());
        self.store
            .write(move |tx| {
                schedules::remove(tx, row.id)?;
                note(tx, (&row, "schedule.remove"), now)
            })
            .await?;
        self.changed.notify_waiters();
        Ok(schedule)
    }

    /// Returns when something may be due: at its time, when a schedule is added, and every half
    /// minute, because a wall clock can be moved.
    pub async fn wait(&self) -> Result<(), ScheduleError> {
        let changed = self.changed.notified();
        tokio::pin!(changed);
        // Listens before it looks, so that nothing is missed in between.
        changed.as_mut().enable();
        let next = self.store.read(schedules::next_due).await?;
        let wait = next.map_or(LONGEST, |at| at.since(self.clock.now()).min(LONGEST));
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(wait) => {}
        }
        Ok(())
    }
}

/// Notes in the audit on whose behalf a schedule was made or removed. Its text is not kept there.
fn note(tx: &Tx<'_>, (row, action): (&Schedule, &str), now: Timestamp) -> crate::store::Result<()> {
    let user = users::get(tx, row.user_id)?;
    let actor = user.map_or_else(|| row.user_id.to_string(), |user| user.name);
    let detail =
        json!({ "kind": row.kind, "skill": row.skill, "cron": row.cron, "next_at": row.next_at });
    let entry = Entry::new(now, &actor, action, row.id).with(detail);
    audit::append_from(tx, &entry, &Origin::from(row.address.connector.as_str()))
}

const LONGEST: Duration = Duration::from_secs(30);

/// The first slot of a cron expression after a moment.
pub fn next_slot(cron: &str, zone: &str, after: Timestamp) -> Option<Timestamp> {
    let zone = Tz::from_str(zone).unwrap_or(Tz::UTC);
    let cron = Cron::from_str(cron).ok()?;
    let next = cron
        .find_next_occurrence(&after.utc().with_timezone(&zone), false)
        .ok()?;
    Some(next.with_timezone(&Utc).into())
}

fn zone(config: &Config) -> Tz {
    let named = config.time_zone.clone();
    let name = named.or_else(|| iana_time_zone::get_timezone().ok());
    let parsed = name.as_deref().map(Tz::from_str);
    match parsed {
        Some(Ok(zone)) => zone,
        Some(Err(_)) => {
            tracing::warn!(
                zone = name,
                "scheduler.time_zone is no IANA name; using UTC"
            );
            Tz::UTC
        }
        None => Tz::UTC,
    }
}

fn show(at: Timestamp, now: Timestamp, zone: Tz) -> String {
    let (at, now) = (
        at.utc().with_timezone(&zone),
        now.utc().with_timezone(&zone),
    );
    let days = (at.date_naive() - now.date_naive()).num_days();
    match days {
        0 if (at - now).num_seconds() < 3600 => at.format("%H:%M:%S").to_string(),
        0 => at.format("%H:%M").to_string(),
        1 => at.format("tomorrow at %H:%M").to_string(),
        2..=6 => at.format("%A at %H:%M").to_string(),
        _ => at.format("%Y-%m-%d %H:%M").to_string(),
    }
}
