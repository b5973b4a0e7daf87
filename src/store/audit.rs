//! Who did what, when, from where, on what: append only, and a chain in which a change shows
//! ([`chain`]). Nothing here is ever deleted, also not with the session that it tells of.

pub mod chain;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use super::Result;
use crate::types::{
    Timestamp,
    secret::{mask, mask_keys},
    text::shorten,
};

/// A text in the details is kept up to this many bytes.
const LONGEST_TEXT: usize = 500;
/// All details of an entry together; beyond it they are kept as a shortened text.
const LONGEST_DETAIL: usize = 4000;
/// Columns as they are read and hashed.
const COLUMNS: &str = "id, at, actor, action, object, origin, decided_by, detail, prev, hash";

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Did what, such as `skill.trust`.
    pub action: String,
    /// To what.
    pub object: String,
    /// With which details. Secrets are masked and long texts shortened before it is written.
    pub detail: Value,
}

impl Entry {
    /// An entry without details.
    #[expect(clippy::needless_pass_by_value, reason = "ids and texts alike")]
    pub fn new(at: Timestamp, actor: &str, action: &str, object: impl ToString) -> Self {
        Self {
            at,
            actor: actor.to_owned(),
            action: action.to_owned(),
            object: object.to_string(),
            detail: Value::Object(serde_json::Map::new()),
        }
    }

    /// The same with details.
    #[must_use]
    pub fn with(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

/// Where something came from, and who allowed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// A door and a peer (`web 192.168.1.5`), or a channel and a chat (`webhook home/ada`).
    pub from: String,
    /// Who allowed it, where that is somebody else than the actor.
    pub decided_by: Option<String>,
}

impl Origin {
    /// From here, allowed by the actor.
    pub fn from(place: impl Into<String>) -> Self {
        Self {
            from: place.into(),
            decided_by: None,
        }
    }
}

/// Appends an entry that came from nowhere in particular.
pub fn append(tx: &Transaction<'_>, entry: &Entry) -> Result<()> {
    append_from(tx, entry, &Origin::default())
}

/// Appends an entry.
pub fn append_from(tx: &Transaction<'_>, entry: &Entry, origin: &Origin) -> Result<()> {
    let clean = |text: &str| mask(text).into_owned();
    let last = chain::last(tx)?;
    if let Some(last) = &last {
        chain::anchor(last, entry.at);
    }
    let mut line = Line {
        id: last.as_ref().map_or(0, |last| last.id) + 1,
        at: entry.at,
        actor: clean(&entry.actor),
        action: entry.action.clone(),
        object: clean(&entry.object),
        origin: clean(&origin.from),
        decided_by: origin.decided_by.as_deref().map(clean),
        detail: detail_text(&entry.detail),
        prev: Some(last.map_or(chain::BEGINNING, |last| last.hash)),
        hash: None,
    };
    let hash = chain::hash(line.prev.unwrap_or(chain::BEGINNING), &line);
    line.hash = Some(hash);
    insert(tx, &line)
}

/// Appends to a database whose schema may be older than the chain: as a row without a hash there,
/// which the first entry after the migration binds.
pub(super) fn append_to_any(tx: &Transaction<'_>, entry: &Entry, origin: &Origin) -> Result<()> {
    if chain::exists(tx)? {
        return append_from(tx, entry, origin);
    }
    let sql = "INSERT INTO audit (at, actor, action, object, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    let detail = detail_text(&entry.detail);
    tx.execute(
        sql,
        params![entry.at, entry.actor, entry.action, entry.object, detail],
    )?;
    Ok(())
}

fn insert(tx: &Transaction<'_>, line: &Line) -> Result<()> {
    let sql =
        "INSERT INTO audit (id, at, actor, action, object, origin, decided_by, detail, prev, hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    tx.prepare_cached(sql)?.execute(params![
        line.id,
        line.at,
        line.actor,
        line.action,
        line.object,
        line.origin,
        line.decided_by,
        line.detail,
        line.prev,
        line.hash
    ])?;
    Ok(())
}

/// Details as they are kept: masked first by the names of keys, then by value.
fn detail_text(detail: &Value) -> String {
    let text = mask(&short(&mask_keys(detail)).to_string()).into_owned();
    if text.len() <= LONGEST_DETAIL {
        return text;
    }
    serde_json::json!({ "shortened": shorten(&text, LONGEST_DETAIL) }).to_string()
}

fn short(value: &Value) -> Value {
    match value {
        Value::String(text) => shorten(text, LONGEST_TEXT).into(),
        Value::Array(items) => items.iter().map(short).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), short(v))).collect(),
        other => other.clone(),
    }
}

/// An entry as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Did what.
    pub action: String,
    /// To what.
    pub object: String,
    /// From where; empty where that means nothing.
    pub origin: String,
    /// Who allowed it.
    pub decided_by: Option<String>,
    /// Details, JSON.
    pub detail: String,
    /// The hash of the entry before.
    pub prev: Option<chain::Hash>,
    /// The hash of this one.
    pub hash: Option<chain::Hash>,
}

impl Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let detail: Value = serde_json::from_str(&self.detail)
            .unwrap_or_else(|_not_json| Value::from(self.detail.clone()));
        let hex = |hash: &Option<chain::Hash>| hash.as_ref().map(chain::hex);
        let shown = serde_json::json!({
            "id": self.id, "at": self.at, "actor": self.actor, "action": self.action,
            "object": self.object, "origin": self.origin, "decided_by": self.decided_by,
            "detail": detail, "prev": hex(&self.prev), "hash": hex(&self.hash),
        });
        shown.serialize(to)
    }
}

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    Ok(Line {
        id: row.get("id")?,
        at: row.get("at")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        object: row.get("object")?,
        origin: row.get("origin")?,
        decided_by: row.get("decided_by")?,
        detail: row.get("detail")?,
        prev: row.get("prev")?,
        hash: row.get("hash")?,
    })
}

/// Which entries to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this actor's.
    pub actor: Option<String>,
    /// Only this action, or those below it: `skill` stands for `skill.run` as well.
    pub action: Option<String>,
    /// Only on this object.
    pub object: Option<String>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
    /// Newest first: only entries before this number.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

/// Entries, newest first.
pub fn list(c: &Connection, filter: &Filter) -> Result<Vec<Line>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit
         WHERE id < ?1 AND at >= ?2 AND at < ?3
           AND (?4 IS NULL OR actor = ?4)
           AND (?5 IS NULL OR action = ?5 OR substr(action, 1, length(?5) + 1) = ?5 || '.')
           AND (?6 IS NULL OR object = ?6)
         ORDER BY id DESC LIMIT ?7"
    );
    let mut query = c.prepare_cached(&sql)?;
    let rows = query.query_map(
        params![
            filter.before.unwrap_or(i64::MAX),
            filter.since.unwrap_or(Timestamp(i64::MIN)),
            filter.until.unwrap_or(Timestamp(i64::MAX)),
            filter.actor,
            filter.action,
            filter.object,
            filter.limit
        ],
        line,
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Entries after a number, oldest first: for export and verification.
pub fn after(c: &Connection, id: i64, limit: u32) -> Result<Vec<Line>> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut query = c.prepare_cached(&sql)?;
    let rows = query.query_map(params![id, limit], line)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One entry.
pub fn get(c: &Connection, id: i64) -> Result<Option<Line>> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id = ?1");
    Ok(c.prepare_cached(&sql)?.query_row([id], line).optional()?)
}

#[cfg(test)]
mod tests;
