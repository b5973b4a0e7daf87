//! `nexflow db`: care of the database file. These commands open the file themselves; those that
//! write need the lock of the data directory, so the daemon must not run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use super::{
    Setup,
    out::{self, line},
    trouble::Trouble,
};
use crate::store::admin;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Size, messages, version, migrations, snapshots
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Apply pending migrations, after a snapshot (`nexflow run` does so by itself)
    Migrate,
    /// Undo the last migration, after a snapshot
    Rollback,
    /// Read the whole file and look for damage
    Check,
    /// Copy the database to a new file, also while the daemon runs
    #[command(after_help = "Example: nexflow db backup /backup/nexflow-monday.db")]
    Backup {
        /// A file that does not exist yet
        file: PathBuf,
    },
    /// Put a copy in place; what was there is kept as a snapshot
    #[command(after_help = "Example: nexflow db restore /backup/nexflow-monday.db")]
    Restore {
        /// The copy
        file: PathBuf,
    },
}

/// Runs one.
pub(super) fn run(setup: &Setup, command: Command) -> Result<()> {
    let path = setup.load()?.config.database_path();
    match command {
        Command::Status { json: true } => out::json(&admin::status(&path)?),
        Command::Status { json: false } => show(&admin::status(&path)?),
        Command::Migrate => show(&admin::migrate(&path)?),
        Command::Rollback => match admin::rollback(&path)? {
            Some((name, kept)) => {
                line(&format!("Undid {name}. Before it: {}", kept.display()))?;
                line("The next start of nexflow applies it again; use an older binary.")
            }
            None => line("No migration is applied; nothing was changed."),
        },
        Command::Check => {
            let found = admin::check(&path)?;
            if found.is_empty() {
                return line(&format!("{} is sound.", path.display()));
            }
            for problem in &found {
                line(problem)?;
            }
            let what = format!("{} is damaged in {} places", path.display(), found.len());
            let folder = admin::snapshots(&path);
            let hint = format!(
                "`nexflow db restore FILE` puts a copy in place; snapshots are in {}",
                folder.display()
            );
            Err(Trouble::new(what).hint(hint).into())
        }
        Command::Backup { file } => {
            admin::backup(&path, &file)?;
            line(&format!("Wrote {}.", file.display()))
        }
        Command::Restore { file } => {
            let kept = admin::restore(&path, &file)?;
            line(&format!(
                "Restored {} from {}.",
                path.display(),
                file.display()
            ))?;
            kept.map_or(Ok(()), |kept| {
                line(&format!("What was there is in {}.", kept.display()))
            })
        }
    }
}

fn show(status: &admin::Status) -> Result<()> {
    line(&format!(
        "File:       {} ({})",
        status.path.display(),
        out::bytes(status.bytes)
    ))?;
    if let Some(messages) = status.messages {
        line(&format!("Messages:   {messages} accepted"))?;
    }
    line(&format!(
        "Version:    {} of {}",
        status.version, status.latest
    ))?;
    line(&format!("Applied:    {}", words(&status.applied)))?;
    line(&format!("Pending:    {}", words(&status.pending)))?;
    let folder = admin::snapshots(&status.path);
    line(&format!(
        "Snapshots:  {} in {}",
        status.snapshots.len(),
        folder.display()
    ))?;
    for snapshot in &status.snapshots {
        line(&format!("            {}", snapshot.display()))?;
    }
    Ok(())
}

fn words(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
