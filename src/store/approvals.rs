//! Questions whether something may be done, and what was decided.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Result, row};
use crate::types::{
    ApprovalId, MessageId, SessionId, StepId, Timestamp, TurnId, UserId, effect::Effects,
};

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// The owner alone.
    Owner,
    /// The owner, or the person whose call it is.
    Asker,
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A call.
    Call,
    /// A plan.
    Plan,
}

/// How a question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody decided yet.
    Pending,
    /// It may be done.
    Approved,
    /// It may not.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// The turn was stopped, or what was asked about has changed.
    Cancelled,
}

impl State {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "pending" => Self::Pending,
            "approved" => Self::Approved,
            "denied" => Self::Denied,
            "expired" => Self::Expired,
            _ => Self::Cancelled,
        }
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// Id.
    pub id: ApprovalId,
    /// The conversation.
    pub session_id: SessionId,
    /// The turn that waits.
    pub turn_id: TurnId,
    /// The step that waits.
    #[serde(skip_serializing, default = "StepId::new")]
    pub step_id: StepId,
    /// The provider's id of the call.
    pub call_id: String,
    /// Whose message led to it.
    pub user_id: UserId,
    /// The person behind that account.
    pub person_id: UserId,
    /// What is asked about.
    pub kind: Kind,
    /// The tool or skill.
    pub tool: String,
    /// Hash of the skill; empty for a built-in tool.
    pub hash: String,
    /// The exact arguments.
    pub args: Value,
    /// What the decision is bound to.
    pub fingerprint: String,
    /// What the tool may do to data.
    pub effects: Effects,
    /// What it does, for a person.
    pub summary: String,
    /// Why it asks.
    pub reason: String,
    /// Where the untrusted content came from, where the gate asks.
    pub source: Option<String>,
    /// The command that would run.
    pub command: Option<String>,
    /// The change of a file, as a unified diff.
    pub diff: Option<String>,
    /// What "this session" and "always" would allow: `text` is for a person.
    pub pattern: Option<Value>,
    /// Whether the gate asks.
    pub gated: bool,
    /// Who decides.
    pub who: Who,
    /// How it stands.
    pub state: State,
    /// `once`, `session`, `always` or `deny`.
    pub decision: Option<String>,
    /// Of a plan: numbers of the steps that were approved.
    pub steps: Option<Value>,
    /// Why it was denied.
    pub note: Option<String>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// Through which door.
    pub decided_via: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// When the call began.
    pub used_at: Option<Timestamp>,
    /// The message with which an expired one was asked again.
    pub reopened_by: Option<MessageId>,
    /// When it was asked.
    pub created_at: Timestamp,
    /// When it is too late.
    pub expires_at: Timestamp,
}

fn approval(row: &Row<'_>) -> rusqlite::Result<Approval> {
    let json = |column: &str| row::json(row, column);
    let some = |column: &str| json(column).map(|value| Some(value).filter(|v| !v.is_null()));
    Ok(Approval {
        id: row.get("id")?,
        session_id: row.get("session_id")?,
        turn_id: row.get("turn_id")?,
        step_id: row.get("step_id")?,
        call_id: row.get("call_id")?,
        user_id: row.get("user_id")?,
        person_id: row.get("person_id")?,
        kind: if row.get::<_, String>("kind")? == "plan" {
            Kind::Plan
        } else {
            Kind::Call
        },
        tool: row.get("tool")?,
        hash: row.get("hash")?,
        args: json("args")?,
        fingerprint: row.get("fingerprint")?,
        effects: serde_json::from_value(json("effects")?).unwrap_or(Effects::ALL),
        summary: row.get("summary")?,
        reason: row.get("reason")?,
        source: row.get("source")?,
        command: row.get("command")?,
        diff: row.get("diff")?,
        pattern: some("pattern")?,
        gated: row.get("gated")?,
        who: if row.get::<_, String>("who")? == "asker" {
            Who::Asker
        } else {
            Who::Owner
        },
        state: State::parse(&row.get::<_, String>("state")?),
        decision: row.get("decision")?,
        steps: some("steps")?,
        note: row.get("note")?,
        decided_by: row.get("decided_by")?,
        decided_via: row.get("decided_via")?,
        decided_at: row.get("decided_at")?,
        used_at: row.get("used_at")?,
        reopened_by: row.get("reopened_by")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
    })
}

/// Asks.
pub fn insert(tx: &Transaction<'_>, one: &Approval) -> Result<()> {
    let sql =
        "INSERT INTO approvals (id, session_id, turn_id, step_id, call_id, user_id, person_id,
                 kind, tool, hash, args, fingerprint, effects, summary, reason, source, command,
                 diff, pattern, gated, who, state, created_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?20, ?21, 'pending', ?22, ?23)";
    let kind = match one.kind {
        Kind::Call => "call",
        Kind::Plan => "plan",
    };
    let who = match one.who {
        Who::Owner => "owner",
        Who::Asker => "asker",
    };
    tx.prepare_cached(sql)?.execute(params![
        one.id,
        one.session_id,
        one.turn_id,
        one.step_id,
        one.call_id,
        one.user_id,
        one.person_id,
        kind,
        one.tool,
        one.hash,
        one.args.to_string(),
        one.fingerprint,
        serde_json::to_string(&one.effects).unwrap_or_default(),
        one.summary,
        one.reason,
        one.source,
        one.command,
        one.diff,
        one.pattern.as_ref().map(Value::to_string),
        one.gated,
        who,
        one.created_at,
        one.expires_at
    ])?;
    Ok(())
}

/// What a person decided, or what became of a question by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruling {
    /// How it stands now.
    pub state: State,
    /// `once`, `session`, `always` or `deny`.
    pub decision: Option<String>,
    /// Of a plan: numbers of the steps that were approved.
    pub steps: Option<Value>,
    /// Why.
    pub note: Option<String>,
    /// Who.
    pub by: String,
    /// Through which door.
    pub via: String,
    /// Door and peer, for the audit.
    pub from: String,
    /// The account of who decided; none where nobody did.
    pub user: Option<UserId>,
}

impl Ruling {
    /// What became of a question without anybody: what it was, and why.
    pub fn by_itself(state: State, note: &str, via: &str) -> Self {
        Self {
            state,
            decision: None,
            steps: None,
            note: Some(note.to_owned()),
            by: "nexflow".to_owned(),
            via: via.to_owned(),
            from: via.to_owned(),
            user: None,
        }
    }
}

/// Writes a ruling. `false` if the question was settled already: then nothing was changed.
pub fn settle(
    tx: &Transaction<'_>,
    id: ApprovalId,
    ruling: &Ruling,
    now: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE approvals SET state = ?2, decision = ?3, steps = ?4, note = ?5,
                 decided_by = ?6, decided_via = ?7, decided_at = ?8
               WHERE id = ?1 AND state = 'pending'";
    let changed = tx.prepare_cached(sql)?.execute(params![
        id,
        ruling.state.as_str(),
        ruling.decision,
        ruling.steps.as_ref().map(Value::to_string),
        ruling.note,
        ruling.by,
        ruling.via,
        now
    ])?;
    Ok(changed == 1)
}

/// Takes an approval for the run of its call. `false` if it was taken, or is none.
pub fn take(tx: &Transaction<'_>, id: ApprovalId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE approvals SET used_at = ?2
               WHERE id = ?1 AND state = 'approved' AND used_at IS NULL";
    Ok(tx.prepare_cached(sql)?.execute(params![id, now])? == 1)
}

/// Takes an approval back because what it was given for is not what would run. `false` if it was taken,
/// or is none.
pub fn void(tx: &Transaction<'_>, id: ApprovalId, note: &str) -> Result<bool> {
    let sql = "UPDATE approvals SET state = 'cancelled', note = ?2
               WHERE id = ?1 AND state = 'approved' AND used_at IS NULL";
    Ok(tx.prepare_cached(sql)?.execute(params![id, note])? == 1)
}

/// Notes that an expired question is asked again. `false` if it was already.
pub fn reopen(tx: &Transaction<'_>, id: ApprovalId, message: MessageId) -> Result<bool> {
    let sql = "UPDATE approvals SET reopened_by = ?2
               WHERE id = ?1 AND state = 'expired' AND reopened_by IS NULL";
    Ok(tx.prepare_cached(sql)?.execute(params![id, message])? == 1)
}

/// The questions that a message asks again.
pub fn reopened_by(c: &Connection, message: MessageId) -> Result<Vec<Approval>> {
    many(
        c,
        "SELECT * FROM approvals WHERE reopened_by = ?1 ORDER BY id",
        [message],
    )
}

/// One.
pub fn get(c: &Connection, id: ApprovalId) -> Result<Option<Approval>> {
    let mut query = c.prepare_cached("SELECT * FROM approvals WHERE id = ?1")?;
    Ok(query.query_row([id], approval).optional()?)
}

/// All of a turn, the oldest first.
pub fn of_turn(c: &Connection, turn: TurnId) -> Result<Vec<Approval>> {
    many(
        c,
        "SELECT * FROM approvals WHERE turn_id = ?1 ORDER BY id",
        [turn],
    )
}

/// What is too late now.
pub fn overdue(c: &Connection, now: Timestamp) -> Result<Vec<Approval>> {
    let sql = "SELECT * FROM approvals WHERE state = 'pending' AND expires_at <= ?1 ORDER BY id";
    many(c, sql, [now])
}

/// When the next one expires.
pub fn next_expiry(c: &Connection) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(expires_at) FROM approvals WHERE state = 'pending'";
    Ok(c.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Pending ones of the same tool and pattern: what a lasting answer settles as well.
pub fn alike(c: &Connection, one: &Approval) -> Result<Vec<Approval>> {
    let sql = "SELECT * FROM approvals WHERE state = 'pending' AND kind = 'call' AND tool = ?1
                 AND hash = ?2 AND person_id = ?3 AND gated <= ?4 AND id <> ?5 ORDER BY id";
    many(
        c,
        sql,
        params![one.tool, one.hash, one.person_id, one.gated, one.id],
    )
}

/// What lists show: what is pending first, then the newest.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only of this account.
    pub user: Option<UserId>,
    /// Only of this conversation.
    pub session: Option<SessionId>,
    /// Only what nobody decided yet.
    pub pending: bool,
    /// At most so many.
    pub limit: u32,
}

/// A list.
pub fn list(c: &Connection, wanted: &Wanted) -> Result<Vec<Approval>> {
    let sql = "SELECT * FROM approvals WHERE (?1 IS NULL OR user_id = ?1)
                 AND (?2 IS NULL OR session_id = ?2) AND (NOT ?3 OR state = 'pending')
               ORDER BY state <> 'pending', id DESC LIMIT ?4";
    let wanted = params![wanted.user, wanted.session, wanted.pending, wanted.limit];
    many(c, sql, wanted)
}

fn many(c: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Approval>> {
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params, approval)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
