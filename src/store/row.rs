//! How our types stand in columns.

use std::str::FromStr as _;

use rusqlite::{
    Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

use crate::types::{
    ApprovalId, AttemptId, GrantId, MemoryId, MessageId, PairingId, ScheduleId, SessionId, StepId,
    TaskId, Timestamp, TokenId, TurnId, UserId,
};

macro_rules! id_columns {
    ($($name:ident),+) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.to_string().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::from_str(value.as_str()?).map_err(|e| FromSqlError::Other(Box::new(e)))
            }
        }
    )+};
}

id_columns!(
    ApprovalId, AttemptId, GrantId, MemoryId, MessageId, PairingId, ScheduleId, SessionId, StepId,
    TaskId, TokenId, TurnId, UserId
);

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

/// A column that holds JSON; `null` where it cannot be read.
pub(super) fn json(row: &Row<'_>, column: &str) -> rusqlite::Result<serde_json::Value> {
    let text: Option<String> = row.get(column)?;
    Ok(text
        .and_then(|t| serde_json::from_str(&t).ok())
        .unwrap_or_default())
}
