//! Answers on their way: written with the end of the turn, delivered afterwards.

mod posts;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

pub use posts::{Standing, last_post, standing};

use super::Result;
use crate::types::{Address, ApprovalId, MessageId, SessionId, Timestamp, TurnId, UserId};

/// An answer to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The answer's message id; also the idempotency key.
    pub id: MessageId,
    /// Session.
    pub session: SessionId,
    /// Turn; none for a reminder.
    pub turn: Option<TurnId>,
    /// The external id of the message that this answers; the newest of several.
    pub in_reply_to: Option<String>,
    /// External ids of the others that it answers.
    pub also_in_reply_to: Vec<String>,
    /// Where to.
    pub to: Address,
    /// The receiver's id on the platform.
    pub external_user: String,
    /// Markdown.
    pub text: String,
    /// How it stands.
    pub state: String,
    /// Deliveries tried.
    pub attempts: u32,
    /// When to try next.
    pub next_at: Timestamp,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// Whether an earlier try may have arrived.
    pub unsure: bool,
    /// When it was written.
    pub created_at: Timestamp,
    /// When the owner last said to send or to drop it.
    pub decided_at: Option<Timestamp>,
    /// When it was settled.
    pub finished_at: Option<Timestamp>,
    /// Not an answer: it tells that the answer waits for somebody.
    pub notice: bool,
    /// Posts of its parts so far, in order.
    pub posts: Vec<String>,
    /// The question that it asks, or, where it replaces another one, what became of it.
    pub question: Option<ApprovalId>,
    /// The parcel whose post becomes this one.
    pub replaces: Option<MessageId>,
}

impl Parcel {
    /// One that nobody asked for and that goes as soon as it can.
    pub fn new(
        (id, session): (MessageId, SessionId),
        (to, external_user): (Address, String),
        text: String,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            session,
            turn: None,
            in_reply_to: None,
            also_in_reply_to: Vec::new(),
            to,
            external_user,
            text,
            state: "prepared".to_owned(),
            attempts: 0,
            next_at: now,
            last_error: None,
            unsure: false,
            created_at: now,
            decided_at: None,
            finished_at: None,
            notice: false,
            posts: Vec::new(),
            question: None,
            replaces: None,
        }
    }
}

fn parcel(row: &Row<'_>) -> rusqlite::Result<Parcel> {
    Ok(Parcel {
        id: row.get("id")?,
        session: row.get("session_id")?,
        turn: row.get("turn_id")?,
        in_reply_to: row.get("in_reply_to")?,
        also_in_reply_to: row
            .get::<_, Option<String>>("also_in_reply_to")?
            .and_then(|list| serde_json::from_str(&list).ok())
            .unwrap_or_default(),
        to: Address {
            connector: row.get("connector")?,
            account: row.get("account")?,
            chat: row.get("chat")?,
        },
        external_user: row.get("external_user")?,
        text: row.get("text")?,
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        next_at: row.get("next_at")?,
        last_error: row.get("last_error")?,
        unsure: row.get("unsure")?,
        created_at: row.get("created_at")?,
        decided_at: row.get("decided_at")?,
        finished_at: row.get("finished_at")?,
        notice: row.get("notice")?,
        posts: serde_json::from_str(&row.get::<_, String>("posts")?).unwrap_or_default(),
        question: row.get("approval_id")?,
        replaces: row.get("replaces")?,
    })
}

/// Puts an answer in the outbox: `prepared`, or `delivered` where the receiver reads the session
/// itself.
pub fn insert(tx: &Transaction<'_>, parcel: &Parcel) -> Result<()> {
    let sql = "INSERT INTO outbox (id, session_id, turn_id, in_reply_to, connector, account, chat,
                 external_user, text, state, next_at, created_at, finished_at, also_in_reply_to,
                 notice, approval_id, replaces)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?13, ?14, ?15, ?16)";
    let also = (!parcel.also_in_reply_to.is_empty())
        .then(|| serde_json::to_string(&parcel.also_in_reply_to).unwrap_or_default());
    tx.prepare_cached(sql)?.execute(params![
        parcel.id,
        parcel.session,
        parcel.turn,
        parcel.in_reply_to,
        parcel.to.connector,
        parcel.to.account,
        parcel.to.chat,
        parcel.external_user,
        parcel.text,
        parcel.state,
        parcel.created_at,
        parcel.finished_at,
        also,
        parcel.notice,
        parcel.question,
        parcel.replaces
    ])?;
    Ok(())
}

/// Whether the receiver of a turn's answer was told that it waits.
pub fn told(c: &Connection, turn: TurnId) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM outbox WHERE turn_id = ?1 AND notice = 1)";
    Ok(c.prepare_cached(sql)?.query_row([turn], |row| row.get(0))?)
}

/// Whether one waits for its turn: what goes to a chat of these connectors (`?1`, as JSON) goes in
/// order.
const FIRST: &str = "state IN ('prepared', 'retry', 'ambiguous')
    AND NOT (connector IN (SELECT value FROM json_each(?1)) AND EXISTS (
        SELECT 1 FROM outbox AS earlier
        WHERE earlier.state IN ('prepared', 'sending', 'ambiguous', 'retry')
          AND earlier.connector = outbox.connector AND earlier.account = outbox.account
          AND earlier.chat = outbox.chat AND earlier.id < outbox.id))";

fn in_order(connectors: &[String]) -> String {
    serde_json::to_string(connectors).unwrap_or_default()
}

/// Takes what is due and marks it as being sent; of a chat of a connector in `ordered` only the oldest.
pub fn take_due(
    tx: &Transaction<'_>,
    ordered: &[String],
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Parcel>> {
    let sql = format!(
        "UPDATE outbox SET state = 'sending', attempts = attempts + 1
         WHERE id IN (SELECT id FROM outbox WHERE {FIRST} AND next_at <= ?2
                      ORDER BY next_at, id LIMIT ?3)
         RETURNING *"
    );
    let mut query = tx.prepare_cached(&sql)?;
    let rows = query.query_map(params![in_order(ordered), now, limit], parcel)?;
    let mut due: Vec<Parcel> = rows.collect::<rusqlite::Result<_>>()?;
    due.sort_by_key(|p| p.id);
    Ok(due)
}

/// When the next delivery is due.
pub fn next_due(c: &Connection, ordered: &[String]) -> Result<Option<Timestamp>> {
    let sql = format!("SELECT min(next_at) FROM outbox WHERE {FIRST}");
    let mut query = c.prepare_cached(&sql)?;
    Ok(query.query_row([in_order(ordered)], |row| row.get(0))?)
}

/// Whether something waits to be sent to a chat.
pub fn waits_for(c: &Connection, to: &Address) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM outbox
                 WHERE connector = ?1 AND account = ?2 AND chat = ?3
                   AND state IN ('prepared', 'sending', 'ambiguous', 'retry'))";
    let mut query = c.prepare_cached(sql)?;
    Ok(query.query_row([&to.connector, &to.account, &to.chat], |row| row.get(0))?)
}

/// The newest parcel about a question.
pub fn about(c: &Connection, question: ApprovalId) -> Result<Option<Parcel>> {
    let sql = "SELECT * FROM outbox WHERE approval_id = ?1 ORDER BY id DESC LIMIT 1";
    let mut query = c.prepare_cached(sql)?;
    Ok(query.query_row([question], parcel).optional()?)
}

/// It does not go out: what it says does not hold any more. `unsure` if it may have arrived before.
pub fn withdraw(tx: &Transaction<'_>, id: MessageId, unsure: bool, now: Timestamp) -> Result<()> {
    let sql = "UPDATE outbox SET state = 'dead', unsure = ?2, decided_at = ?3, finished_at = ?3,
                                 last_error = 'what it says did not hold any more'
               WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, unsure, now])?;
    Ok(())
}

/// It arrived.
pub fn delivered(tx: &Transaction<'_>, id: MessageId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE outbox SET state = 'delivered', last_error = NULL, finished_at = ?2
               WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, now])?;
    Ok(())
}

/// A part of it was posted; whether the next one was is known again.
pub fn posted(tx: &Transaction<'_>, id: MessageId, post: &str) -> Result<()> {
    let sql = "UPDATE outbox SET posts = json_insert(posts, '$[#]', ?2), unsure = 0 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, post])?;
    Ok(())
}

/// It did not arrive; try again then. A try that does not count is taken back.
pub fn retry(
    tx: &Transaction<'_>,
    id: MessageId,
    (why, counts): (&str, bool),
    at: Timestamp,
) -> Result<()> {
    let sql = "UPDATE outbox SET state = 'retry', last_error = ?2, next_at = ?3,
                                 attempts = attempts - ?4
               WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![id, why, at, !counts])?;
    Ok(())
}

/// A connector hears its platform again: what waits to be tried again waits no longer.
pub fn hasten(tx: &Transaction<'_>, connector: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE outbox SET next_at = ?2
               WHERE connector = ?1 AND state IN ('retry', 'ambiguous') AND next_at > ?2";
    tx.prepare_cached(sql)?.execute(params![connector, now])?;
    Ok(())
}

/// It may have arrived; settle it then.
pub fn ambiguous(tx: &Transaction<'_>, id: MessageId, why: &str, at: Timestamp) -> Result<()> {
    let sql = "UPDATE outbox SET state = 'ambiguous', unsure = 1, last_error = ?2, next_at = ?3
               WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, why, at])?;
    Ok(())
}

/// It will not arrive unless the owner says so: `dead` (refused) or `expired` (too old to be sent
/// without asking).
pub fn give_up(
    tx: &Transaction<'_>,
    id: MessageId,
    (state, why): (&str, &str),
    now: Timestamp,
) -> Result<()> {
    let sql = "UPDATE outbox SET state = ?2, last_error = ?3, finished_at = ?4, decided_at = NULL
               WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![id, state, why, now])?;
    Ok(())
}

/// What it said is not kept any longer.
pub fn reword(tx: &Transaction<'_>, id: MessageId, text: &str) -> Result<()> {
    let sql = "UPDATE outbox SET text = ?2 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, text])?;
    Ok(())
}

/// The owner says to send one that was given up, or one that waits, now. `false` if it is not one of
/// these.
pub fn release(tx: &Transaction<'_>, id: MessageId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE outbox SET state = 'retry', attempts = 0, next_at = ?2, decided_at = ?2,
                                 finished_at = NULL
               WHERE id = ?1 AND state IN ('dead', 'expired', 'retry', 'ambiguous', 'prepared')";
    Ok(tx.prepare_cached(sql)?.execute(params![id, now])? == 1)
}

/// The owner says not to send one. `false` if it was delivered, dropped already or is being sent.
pub fn discard(tx: &Transaction<'_>, id: MessageId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE outbox SET state = 'dead', decided_at = ?2, finished_at = ?2,
                                 last_error = 'dropped by the owner'
               WHERE id = ?1 AND (state IN ('retry', 'ambiguous', 'prepared')
                                  OR state IN ('dead', 'expired') AND decided_at IS NULL)";
    Ok(tx.prepare_cached(sql)?.execute(params![id, now])? == 1)
}

/// After a restart: what was being sent may or may not have arrived.
pub fn recover(tx: &Transaction<'_>) -> Result<usize> {
    let sql = "UPDATE outbox SET state = 'ambiguous', unsure = 1,
                                 last_error = 'nexflow stopped while sending'
               WHERE state = 'sending'
                 AND state IN ('prepared', 'sending', 'ambiguous', 'retry')";
    Ok(tx.execute(sql, [])?)
}

/// The delivery of an answer.
pub fn get(c: &Connection, id: MessageId) -> Result<Option<Parcel>> {
    let mut query = c.prepare_cached("SELECT * FROM outbox WHERE id = ?1")?;
    Ok(query.query_row([id], parcel).optional()?)
}

/// Deliveries, newest first: those on their way and those given up that nobody decided on, or with
/// `all` the delivered and dropped ones too. Only one user's, if one is named.
pub fn list(c: &Connection, all: bool, user: Option<UserId>, limit: u32) -> Result<Vec<Parcel>> {
    let sql = "SELECT o.* FROM outbox o JOIN sessions s ON s.id = o.session_id
               WHERE (?1 OR o.state IN ('prepared', 'sending', 'retry', 'ambiguous')
                         OR o.state IN ('dead', 'expired') AND o.decided_at IS NULL)
                 AND (?2 IS NULL OR s.user_id = ?2)
               ORDER BY o.id DESC LIMIT ?3";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![all, user, limit], parcel)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How the outbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// On their way.
    pub open: u64,
    /// Of these, may have arrived already.
    pub ambiguous: u64,
    /// Refused by their receiver, and the owner has not decided.
    pub dead: u64,
    /// Too old to be sent without asking, and the owner has not decided.
    pub expired: u64,
}

/// How many are on their way, and how many wait for the owner.
pub fn counts(c: &Connection) -> Result<Counts> {
    let sql = "SELECT state, count(*) AS n FROM outbox
               WHERE state IN ('prepared', 'sending', 'ambiguous', 'retry') GROUP BY state
               UNION ALL
               SELECT state, count(*) AS n FROM outbox
               WHERE state IN ('dead', 'expired') AND decided_at IS NULL GROUP BY state";
    let mut counts = Counts::default();
    let mut query = c.prepare_cached(sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let n = row.get::<_, i64>("n")?.unsigned_abs();
        match row.get::<_, String>("state")?.as_str() {
            "dead" => counts.dead += n,
            "expired" => counts.expired += n,
            state => {
                counts.open += n;
                counts.ambiguous += if state == "ambiguous" { n } else { 0 };
            }
        }
    }
    Ok(counts)
}
