//! The chain: each entry holds SHA-256 over the hash before it and all of its own fields, so that an
//! entry that was changed, removed or moved is found. Only the end can be cut off unseen; for that
//! there is the [`Head`], which is kept elsewhere: in the log at each day's first entry, and wherever
//! the owner puts the output of `nexflow audit head`.

use std::{fmt, str::FromStr};

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Line, Result};
use crate::types::Timestamp;

/// SHA-256.
pub type Hash = [u8; 32];

/// What stands before the first entry.
pub const BEGINNING: Hash = [0; 32];

/// What is hashed begins with this, so that a hash can mean nothing else.
const DOMAIN: &[u8] = b"nexflow audit 1\n";

/// The hash of an entry: over the one before, and each field with its length before it.
pub fn hash(prev: Hash, line: &Line) -> Hash {
    let mut sha = Sha256::new();
    sha.update(DOMAIN);
    sha.update(prev);
    sha.update(line.id.to_be_bytes());
    sha.update(line.at.0.to_be_bytes());
    let mut text = |text: &str| {
        sha.update((text.len() as u64).to_be_bytes());
        sha.update(text.as_bytes());
    };
    for field in [&line.actor, &line.action, &line.object, &line.origin] {
        text(field);
    }
    text(&line.detail);
    // Nobody and an empty name are different.
    match &line.decided_by {
        Some(name) => {
            text("decided by");
            text(name);
        }
        None => text(""),
    }
    sha.finalize().into()
}

/// A hash for people.
pub fn hex(hash: &Hash) -> String {
    hash.iter().fold(String::new(), |mut out, byte| {
        out.push_str(&format!("{byte:02x}"));
        out
    })
}

/// The last entry of a chain, by which it is recognized: `NUMBER:HASH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 where there is no entry.
    pub id: i64,
    /// Its hash.
    pub hash: Hash,
    /// When it was written.
    pub at: Timestamp,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, hex(&self.hash))
    }
}

/// A head as somebody gave it: number and hash in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    id: i64,
    hash: String,
}

impl FromStr for Given {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        const SHAPE: &str = "a head is NUMBER:HASH, as `nexflow audit head` prints it";
        let (id, hash) = text.trim().split_once(':').ok_or(SHAPE)?;
        let id = id.parse().map_err(|_not_a_number| SHAPE)?;
        if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(SHAPE);
        }
        Ok(Self {
            id,
            hash: hash.to_lowercase(),
        })
    }
}

/// Whether this database has the chain's columns.
pub(super) fn exists(c: &Connection) -> Result<bool> {
    let sql = "SELECT count(*) FROM pragma_table_info('audit') WHERE name = 'hash'";
    Ok(c.query_row(sql, [], |row| row.get::<_, i64>(0))? == 1)
}

/// The last entry; none where there is none.
pub fn last(c: &Connection) -> Result<Option<Head>> {
    let sql = "SELECT id, at, hash FROM audit ORDER BY id DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<(i64, Timestamp, Option<Hash>)> =
        c.prepare_cached(sql)?.query_row([], read).optional()?;
    let Some((id, at, stored)) = found else {
        return Ok(None);
    };
    let hash = match stored {
        Some(hash) => hash,
        None => of_old_rows(c)?,
    };
    Ok(Some(Head { id, hash, at }))
}

/// The hash that the rows from before the chain come to: needed once, for its first entry.
fn of_old_rows(c: &Connection) -> Result<Hash> {
    let mut check = Check::default();
    for line in super::after(c, 0, u32::MAX)? {
        check.take(&line);
    }
    Ok(check.hash)
}

/// At a day's first entry, tells the log the head that the day before ended with.
pub(super) fn anchor(last: &Head, now: Timestamp) {
    if last.at.utc().date_naive() < now.utc().date_naive() {
        tracing::info!(head = %last, "the audit of the last day ended here; `nexflow audit verify --head` takes it");
    }
}

/// What is wrong with the chain, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The first entry that does not fit.
    pub id: i64,
    /// `altered`, `missing`, `reordered` or `truncated`.
    pub what: &'static str,
    /// The same for people.
    pub text: String,
}

impl Broken {
    fn new(id: i64, what: &'static str, text: String) -> Self {
        Self { id, what, text }
    }
}

/// Checks entries one after the other, from the first on.
#[derive(Debug, Clone)]
pub struct Check {
    /// Entries that were good.
    pub entries: u64,
    /// The last one's number.
    pub id: i64,
    hash: Hash,
    chained: bool,
    head: Option<Given>,
    head_seen: bool,
    broken: Option<Broken>,
}

impl Default for Check {
    fn default() -> Self {
        Self::against(None)
    }
}

impl Check {
    /// Also wants this head to be among the entries.
    pub fn against(head: Option<Given>) -> Self {
        Self {
            entries: 0,
            id: 0,
            hash: BEGINNING,
            chained: false,
            head,
            head_seen: false,
            broken: None,
        }
    }

    /// Takes the next entry; `false` when the chain is broken and there is nothing more to learn.
    pub fn take(&mut self, line: &Line) -> bool {
        if self.broken.is_none() {
            self.broken = self.fault(line);
        }
        self.broken.is_none()
    }

    fn fault(&mut self, line: &Line) -> Option<Broken> {
        let id = line.id;
        let computed = hash(self.hash, line);
        let stands = match (line.prev, line.hash) {
            (Some(prev), Some(stored)) => {
                if prev != self.hash {
                    return Some(self.gap(id));
                }
                stored
            }
            // From before the chain: bound by the first entry that is in it.
            _ if !self.chained => computed,
            _ => {
                return Some(Broken::new(
                    id,
                    "altered",
                    format!("entry {id} has lost its hash"),
                ));
            }
        };
        if stands != computed {
            let text = format!("entry {id} is not what was written");
            return Some(Broken::new(id, "altered", text));
        }
        self.chained |= line.hash.is_some();
        (self.id, self.hash) = (id, stands);
        self.entries += 1;
        if let Some(head) = self.head.as_ref().filter(|head| head.id == id) {
            if head.hash != hex(&stands) {
                let text = format!("entry {id} has another hash than the given head");
                return Some(Broken::new(id, "altered", text));
            }
            self.head_seen = true;
        }
        None
    }

    /// Entries get consecutive numbers: what does not follow tells what happened.
    fn gap(&self, id: i64) -> Broken {
        let after = self.id;
        if !self.chained && self.entries > 0 {
            let text =
                format!("an entry before {id}, from before the chain, was changed or removed");
            return Broken::new(id, "altered", text);
        }
        if id > after + 1 {
            let text = format!("entries between {after} and {id} are missing");
            return Broken::new(id, "missing", text);
        }
        let text = format!("entry {id} does not follow entry {after}: entries were moved");
        Broken::new(id, "reordered", text)
    }

    /// After the last entry: what is wrong, if anything.
    pub fn end(mut self) -> std::result::Result<Self, Broken> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        match &self.head {
            Some(head) if !self.head_seen && head.id > 0 => {
                let text = format!(
                    "the chain ends at entry {}, the given head is entry {}: the end is cut off",
                    self.id, head.id
                );
                Err(Broken::new(self.id + 1, "truncated", text))
            }
            _ => Ok(self),
        }
    }

    /// What the entries so far come to.
    pub fn head(&self) -> String {
        format!("{}:{}", self.id, hex(&self.hash))
    }
}
