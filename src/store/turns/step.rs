//! Steps of turns: model calls and tool calls, each written before it begins.

use std::collections::HashMap;

use rusqlite::{Connection, Row, Transaction, params};
use serde_json::Value;

use crate::{
    store::{Result, row},
    types::{
        SessionId, StepId, Timestamp, TurnId,
        chat::{Call, Reasoning, Usage},
        effect::{Effects, Provenance},
        frame::CallStatus,
    },
};

/// One step of a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Id.
    pub id: StepId,
    /// Its place in the turn.
    pub ordinal: u32,
    /// What kind, with what belongs to it.
    pub kind: StepKind,
    /// How it stands.
    pub status: CallStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When the model's first token came.
    pub first_token_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// What a step is.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// A model call.
    Model {
        /// `provider/model`.
        name: String,
        /// What it said.
        text: String,
        /// What it asked for.
        calls: Vec<Call>,
        /// What it thought before.
        reasoning: Option<Reasoning>,
        /// What it took.
        usage: Usage,
    },
    /// A tool call.
    Tool {
        /// What was asked for.
        call: Call,
        /// The result for the model.
        output: String,
        /// The result for people and programs.
        detail: Value,
        /// What its tool may do to the flow of data.
        effects: Effects,
        /// Where its result came from.
        provenance: Option<Provenance>,
    },
}

fn step(row: &Row<'_>) -> rusqlite::Result<Step> {
    let kind: String = row.get("kind")?;
    let name: String = row.get("name")?;
    let kind = if kind == "model" {
        let said = row::json(row, "output")?;
        StepKind::Model {
            name,
            text: said
                .get("text")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            calls: said
                .get("calls")
                .and_then(|calls| serde_json::from_value(calls.clone()).ok())
                .unwrap_or_default(),
            reasoning: said
                .get("reasoning")
                .and_then(|thoughts| serde_json::from_value(thoughts.clone()).ok()),
            usage: serde_json::from_value(row::json(row, "usage")?).unwrap_or_default(),
        }
    } else {
        let id: Option<String> = row.get("call_id")?;
        StepKind::Tool {
            call: Call {
                id: id.unwrap_or_default(),
                tool: name,
                args: row::json(row, "input")?,
            },
            output: row.get::<_, Option<String>>("output")?.unwrap_or_default(),
            detail: row::json(row, "detail")?,
            // What was not classified counts as everything.
            effects: serde_json::from_value(row::json(row, "effects")?).unwrap_or(Effects::ALL),
            provenance: row
                .get::<_, Option<String>>("provenance")?
                .map(|text| Provenance::parse(&text)),
        }
    };
    Ok(Step {
        id: row.get("id")?,
        ordinal: row.get("ordinal")?,
        kind,
        status: match CallStatus::parse(&row.get::<_, String>("status")?) {
            CallStatus::Running if row.get("waiting")? => CallStatus::Waiting,
            status => status,
        },
        started_at: row.get("started_at")?,
        first_token_at: row.get("first_token_at")?,
        finished_at: row.get("finished_at")?,
    })
}

/// A model call begins.
pub fn start_model(
    tx: &Transaction<'_>,
    turn: TurnId,
    (id, ordinal): (StepId, u32),
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO steps (id, turn_id, ordinal, kind, status, name, started_at)
               VALUES (?1, ?2, ?3, 'model', 'running', '', ?4)";
    tx.prepare_cached(sql)?
        .execute(params![id, turn, ordinal, now])?;
    Ok(())
}

/// What a model call gave.
#[derive(Debug, Clone)]
pub struct Said {
    /// `provider/model`.
    pub name: String,
    /// Text.
    pub text: String,
    /// Calls.
    pub calls: Vec<Call>,
    /// What it thought before.
    pub reasoning: Option<Reasoning>,
    /// What it took.
    pub usage: Usage,
    /// When the first token came.
    pub first_token_at: Option<Timestamp>,
}

/// A model call ends.
pub fn finish_model(tx: &Transaction<'_>, id: StepId, said: &Said, now: Timestamp) -> Result<()> {
    let sql = "UPDATE steps SET status = 'ok', name = ?2, output = ?3, usage = ?4,
                                first_token_at = ?5, finished_at = ?6 WHERE id = ?1";
    let mut output = serde_json::json!({ "text": said.text, "calls": said.calls });
    if let (Some(thoughts), Some(output)) = (&said.reasoning, output.as_object_mut()) {
        output.insert("reasoning".to_owned(), serde_json::json!(thoughts));
    }
    let output = output.to_string();
    let usage = serde_json::to_string(&said.usage).unwrap_or_default();
    tx.prepare_cached(sql)?.execute(params![
        id,
        said.name,
        output,
        usage,
        said.first_token_at,
        now
    ])?;
    Ok(())
}

/// A step ends without a result: the model call was lost, or the turn was stopped.
pub fn end_step(
    tx: &Transaction<'_>,
    id: StepId,
    status: CallStatus,
    output: &str,
    now: Timestamp,
) -> Result<()> {
    let sql =
        "UPDATE steps SET status = ?2, output = CASE kind WHEN 'tool' THEN ?3 ELSE output END,
                                detail = json_quote(?3), finished_at = ?4 WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![id, status.as_str(), output, now])?;
    Ok(())
}

/// A tool call begins: written before it runs.
pub fn start_tool(
    tx: &Transaction<'_>,
    turn: TurnId,
    (id, ordinal): (StepId, u32),
    (call, effects): (&Call, Effects),
    now: Timestamp,
) -> Result<()> {
    let sql =
        "INSERT INTO steps (id, turn_id, ordinal, kind, status, name, call_id, input, effects,
                                  started_at)
               VALUES (?1, ?2, ?3, 'tool', 'running', ?4, ?5, ?6, ?7, ?8)";
    let input = call.args.to_string();
    let effects = serde_json::to_string(&effects).unwrap_or_default();
    tx.prepare_cached(sql)?.execute(params![
        id, turn, ordinal, call.tool, call.id, input, effects, now
    ])?;
    Ok(())
}

/// A tool call ends with a result.
pub fn finish_tool(
    tx: &Transaction<'_>,
    id: StepId,
    (status, output, detail): (CallStatus, &str, &Value),
    now: Timestamp,
) -> Result<()> {
    let sql =
        "UPDATE steps SET status = ?2, output = ?3, detail = ?4, finished_at = ?5 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![
        id,
        status.as_str(),
        output,
        detail.to_string(),
        now
    ])?;
    Ok(())
}

/// The steps of those turns of a session that called tools, from one on.
pub fn steps_with_tools(
    c: &Connection,
    session: SessionId,
    from: TurnId,
) -> Result<HashMap<TurnId, Vec<Step>>> {
    let sql = "SELECT s.* FROM turns t JOIN steps s ON s.turn_id = t.id
               WHERE t.session_id = ?1 AND t.id >= ?2
                 AND EXISTS (SELECT 1 FROM steps x WHERE x.turn_id = t.id AND x.kind = 'tool')
               ORDER BY t.id, s.ordinal";
    let mut query = c.prepare_cached(sql)?;
    let mut rows = query.query(params![session, from])?;
    let mut found: HashMap<TurnId, Vec<Step>> = HashMap::new();
    while let Some(row) = rows.next()? {
        found
            .entry(row.get("turn_id")?)
            .or_default()
            .push(step(row)?);
    }
    Ok(found)
}

/// The steps of a turn, in order.
pub fn steps(c: &Connection, turn: TurnId) -> Result<Vec<Step>> {
    let mut query = c.prepare_cached("SELECT * FROM steps WHERE turn_id = ?1 ORDER BY ordinal")?;
    let rows = query.query_map([turn], step)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
