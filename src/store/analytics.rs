//! Events for counting, apart from audit and log: what happened, never what was said. They stay in
//! this database; nothing sends them anywhere.

use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Result, row, settings};
use crate::types::{SessionId, Timestamp, TurnId, UserId};

/// Days that events are kept where nothing else is configured.
pub const DAYS: u32 = 90;
/// Old events are removed once in so many new ones.
const PRUNE: i64 = 512;
/// The setting that says how long events are kept; `0` keeps none.
const SETTING: &str = "analytics.days";
/// `privacy` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Whether events are counted at all. They never leave this database.
    pub analytics: bool,
    /// Days that events are kept.
    pub analytics_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            analytics: true,
            analytics_days: DAYS,
        }
    }
}

impl Config {
    /// Days that events are kept; 0 where none are.
    pub fn days(&self) -> u32 {
        if self.analytics {
            self.analytics_days
        } else {
            0
        }
    }
}

const DAY: i64 = 24 * 3600 * 1_000_000;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A message was accepted.
    MessageReceived,
    /// A message got its final answer, whatever it says.
    MessageAnswered,
    /// A model is asked.
    AiRequest,
    /// A model answered.
    AiResponse,
    /// A call that changes something ran, because a model asked for it.
    AiApply,
    /// A turn failed.
    AiError,
    /// A model made a plan.
    AgentPlanCreated,
    /// A person approved a plan.
    AgentPlanApproved,
    /// A person rejected a plan.
    AgentPlanRejected,
    /// A call waits for a person.
    ApprovalRequested,
    /// A person decided on a call.
    ApprovalDecided,
    /// An execution of a skill ended.
    SkillRun,
}

impl Event {
    /// Every one.
    pub const ALL: &[Self] = &[
        Self::MessageReceived,
        Self::MessageAnswered,
        Self::AiRequest,
        Self::AiResponse,
        Self::AiApply,
        Self::AiError,
        Self::AgentPlanCreated,
        Self::AgentPlanApproved,
        Self::AgentPlanRejected,
        Self::ApprovalRequested,
        Self::ApprovalDecided,
        Self::SkillRun,
    ];

    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MessageReceived => "MESSAGE_RECEIVED",
            Self::MessageAnswered => "MESSAGE_ANSWERED",
            Self::AiRequest => "AI_REQUEST",
            Self::AiResponse => "AI_RESPONSE",
            Self::AiApply => "AI_APPLY",
            Self::AiError => "AI_ERROR",
            Self::AgentPlanCreated => "AGENT_PLAN_CREATED",
            Self::AgentPlanApproved => "AGENT_PLAN_APPROVED",
            Self::AgentPlanRejected => "AGENT_PLAN_REJECTED",
            Self::ApprovalRequested => "APPROVAL_REQUESTED",
            Self::ApprovalDecided => "APPROVAL_DECIDED",
            Self::SkillRun => "SKILL_RUN",
        }
    }

    /// The event of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|e| e.as_str() == name)
    }
}

/// To what an event belongs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About {
    /// Session.
    pub session: Option<SessionId>,
    /// Turn.
    pub turn: Option<TurnId>,
    /// User.
    pub user: Option<UserId>,
}

impl About {
    /// A turn of a session.
    pub fn turn(session: SessionId, turn: TurnId, user: UserId) -> Self {
        Self {
            session: Some(session),
            turn: Some(turn),
            user: Some(user),
        }
    }
}

/// Writes an event with what it tells of; nothing where events are switched off. `properties` is an
/// object of names, numbers and states: no text of a message belongs there.
pub fn record(
    tx: &Transaction<'_>,
    event: Event,
    about: About,
    properties: &Value,
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO analytics (at, event, session_id, turn_id, user_id, properties)
               SELECT ?1, ?2, ?3, ?4, ?5, ?6
               WHERE coalesce((SELECT value FROM settings WHERE key = ?7), '') <> '0'";
    let written = tx.prepare_cached(sql)?.execute(params![
        now,
        event.as_str(),
        about.session,
        about.turn,
        about.user,
        properties.to_string(),
        SETTING
    ])?;
    if written == 1 && tx.last_insert_rowid() % PRUNE == 0 {
        let days = settings::get(tx, SETTING)?.and_then(|days| days.parse().ok());
        prune(tx, days.unwrap_or(DAYS), now)?;
    }
    Ok(())
}

/// Keeps events for so many days from now on, none with 0, and removes older ones.
pub fn keep(tx: &Transaction<'_>, days: u32, now: Timestamp) -> Result<()> {
    settings::set(tx, SETTING, &days.to_string())?;
    prune(tx, days, now)
}

fn prune(tx: &Transaction<'_>, days: u32, now: Timestamp) -> Result<()> {
    let before = Timestamp(now.0.saturating_sub(i64::from(days) * DAY));
    tx.prepare_cached("DELETE FROM analytics WHERE at < ?1")?
        .execute([before])?;
    Ok(())
}

/// An event as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// Number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: String,
    /// Session.
    pub session_id: Option<SessionId>,
    /// Turn.
    pub turn_id: Option<TurnId>,
    /// User.
    pub user_id: Option<UserId>,
    /// More.
    pub properties: Value,
}

fn shown(row: &Row<'_>) -> rusqlite::Result<Shown> {
    Ok(Shown {
        id: row.get("id")?,
        at: row.get("at")?,
        event: row.get("event")?,
        session_id: row.get("session_id")?,
        turn_id: row.get("turn_id")?,
        user_id: row.get("user_id")?,
        properties: row::json(row, "properties")?,
    })
}

/// Which events to show or count.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this kind.
    pub event: Option<Event>,
    /// Only of this session.
    pub session: Option<SessionId>,
    /// Only of this user.
    pub user: Option<UserId>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
    /// Newest first: only events before this number.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

const WHERE: &str = "id < ?1 AND at >= ?2 AND at < ?3 AND (?4 IS NULL OR event = ?4)
                     AND (?5 IS NULL OR session_id = ?5) AND (?6 IS NULL OR user_id = ?6)";

impl Filter {
    fn bounds(&self) -> (i64, Timestamp, Timestamp, Option<&'static str>) {
        (
            self.before.unwrap_or(i64::MAX),
            self.since.unwrap_or(Timestamp(i64::MIN)),
            self.until.unwrap_or(Timestamp(i64::MAX)),
            self.event.map(Event::as_str),
        )
    }
}

/// Events, newest first.
pub fn list(c: &Connection, filter: &Filter) -> Result<Vec<Shown>> {
    let (before, since, until, event) = filter.bounds();
    let sql = format!("SELECT * FROM analytics WHERE {WHERE} ORDER BY id DESC LIMIT ?7");
    let mut query = c.prepare_cached(&sql)?;
    let given = params![
        before,
        since,
        until,
        event,
        filter.session,
        filter.user,
        filter.limit
    ];
    let rows = query.query_map(given, shown)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How often something happened on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Day, UTC.
    pub day: String,
    /// What.
    pub event: String,
    /// How often.
    pub count: u64,
}

/// Events counted by day, the oldest day first.
pub fn by_day(c: &Connection, filter: &Filter) -> Result<Vec<Count>> {
    let (before, since, until, event) = filter.bounds();
    let sql = format!(
        "SELECT date(at / 1000000, 'unixepoch') AS day, event, count(*) AS count
         FROM analytics WHERE {WHERE} GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let mut query = c.prepare_cached(&sql)?;
    let given = params![before, since, until, event, filter.session, filter.user];
    let rows = query.query_map(given, |row| {
        Ok(Count {
            day: row.get("day")?,
            event: row.get("event")?,
            count: row.get::<_, i64>("count")?.unsigned_abs(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn database() -> Connection {
        let c = Connection::open_in_memory().unwrap();
        for migration in crate::store::migrate::MIGRATIONS {
            migration.apply_to(&c);
        }
        c
    }

    fn happen(c: &mut Connection, event: Event, day: i64) {
        let tx = c.transaction().unwrap();
        let about = About::default();
        record(&tx, event, about, &json!({ "n": 1 }), Timestamp(day * DAY)).unwrap();
        tx.commit().unwrap();
    }

    fn all() -> Filter {
        Filter {
            limit: 1000,
            ..Filter::default()
        }
    }

    #[test]
    fn events_are_counted_by_day() {
        let mut c = database();
        for (event, day) in [
            (Event::AiRequest, 1),
            (Event::AiRequest, 1),
            (Event::AiApply, 2),
        ] {
            happen(&mut c, event, day);
        }
        let count = |day: &str, event: Event, count| Count {
            day: day.to_owned(),
            event: event.as_str().to_owned(),
            count,
        };
        assert_eq!(
            by_day(&c, &all()).unwrap(),
            [
                count("1970-01-02", Event::AiRequest, 2),
                count("1970-01-03", Event::AiApply, 1)
            ]
        );
        let only = Filter {
            event: Some(Event::AiApply),
            ..all()
        };
        assert_eq!(list(&c, &only).unwrap().len(), 1);
        let early = Filter {
            until: Some(Timestamp(2 * DAY)),
            ..all()
        };
        assert_eq!(list(&c, &early).unwrap().len(), 2);
    }

    #[test]
    fn old_events_go_and_switched_off_none_comes() {
        let mut c = database();
        happen(&mut c, Event::AiRequest, 1);
        happen(&mut c, Event::AiRequest, 99);
        let tx = c.transaction().unwrap();
        keep(&tx, 30, Timestamp(100 * DAY)).unwrap();
        tx.commit().unwrap();
        assert_eq!(list(&c, &all()).unwrap().len(), 1);
        let tx = c.transaction().unwrap();
        keep(&tx, 0, Timestamp(100 * DAY)).unwrap();
        tx.commit().unwrap();
        happen(&mut c, Event::AiRequest, 101);
        assert_eq!(list(&c, &all()).unwrap().len(), 0);
    }

    #[test]
    fn many_events_remove_old_ones_by_themselves() {
        let mut c = database();
        happen(&mut c, Event::AiRequest, 1);
        for _ in 0..PRUNE {
            happen(&mut c, Event::AiRequest, 200);
        }
        assert!(
            list(&c, &all())
                .unwrap()
                .iter()
                .all(|e| e.at.0 == 200 * DAY)
        );
    }

    #[test]
    fn every_event_has_a_name_of_its_own() {
        for event in Event::ALL {
            assert_eq!(Event::parse(event.as_str()), Some(*event));
        }
    }
}
