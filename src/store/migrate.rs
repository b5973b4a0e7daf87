//! Numbered SQL files and `PRAGMA user_version`; append only.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::{Result, StoreError, admin};

/// A step between two versions of the schema.
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) name: &'static str,
    up: &'static str,
    down: &'static str,
}

#[cfg(test)]
impl Migration {
    pub(super) fn apply_to(&self, connection: &Connection) {
        connection.execute_batch(self.up).unwrap();
    }
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            up: include_str!(concat!("../../migrations/", $name, ".up.sql")),
            down: include_str!(concat!("../../migrations/", $name, ".down.sql")),
        }
    };
}

/// Every migration, in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_core"),
    migration!(2, "0002_trust"),
    migration!(3, "0003_audit"),
    migration!(4, "0004_turns"),
    migration!(5, "0005_approvals"),
    migration!(6, "0006_money"),
    migration!(7, "0007_allowed"),
    migration!(8, "0008_routing"),
    migration!(9, "0009_platforms"),
    migration!(10, "0010_drafts"),
    migration!(11, "0011_people"),
    migration!(12, "0012_transcripts"),
    migration!(13, "0013_draft_words"),
];

/// The version that this binary writes.
pub(super) fn latest() -> i64 {
    MIGRATIONS.last().map_or(0, |m| m.version)
}

/// The version of a file.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a file up to date, after a snapshot of it where there is something to lose.
pub(super) fn to_latest(connection: &mut Connection, path: &Path) -> Result<()> {
    let found = version(connection).map_err(|e| admin::explain(path, e))?;
    if found > latest() {
        return Err(StoreError::Unusable(format!(
            "the database {} has version {found}, this nexflow knows versions up to {}; run the newer nexflow, or restore a snapshot from {} with `nexflow db restore FILE`",
            path.display(),
            latest(),
            admin::snapshots(path).display(),
        )));
    }
    if found > 0 && found < latest() {
        admin::snapshot(connection, path, &format!("before-v{}", latest()))?;
    }
    for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
        apply(connection, migration.up, migration.version)?;
    }
    Ok(())
}

/// Undoes the last migration, after a snapshot. Answers its name and where the snapshot is.
pub(super) fn rollback(
    connection: &mut Connection,
    path: &Path,
) -> Result<Option<(String, PathBuf)>> {
    let found = version(connection)?;
    let Some(migration) = MIGRATIONS.iter().find(|m| m.version == found) else {
        return Ok(None);
    };
    let snapshot = admin::snapshot(connection, path, &format!("before-rollback-v{found}"))?;
    apply(connection, migration.down, found - 1)?;
    Ok(Some((migration.name.to_owned(), snapshot)))
}

fn apply(connection: &mut Connection, sql: &str, version: i64) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(sql)?;
    tx.pragma_update(None, "user_version", version)?;
    tx.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_and_undoes_itself() {
        let mut files: Vec<String> = std::fs::read_dir("migrations")
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut listed: Vec<String> = MIGRATIONS
            .iter()
            .flat_map(|m| [format!("{}.down.sql", m.name), format!("{}.up.sql", m.name)])
            .collect();
        listed.sort();
        assert_eq!(files, listed);

        let mut connection = Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS {
            apply(&mut connection, migration.up, migration.version).unwrap();
        }
        for migration in MIGRATIONS.iter().rev() {
            apply(&mut connection, migration.down, migration.version - 1).unwrap();
        }
        let left: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0))
            .unwrap();
        assert_eq!(left, 0);
    }
}
