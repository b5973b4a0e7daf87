//! The command line: arguments, and one file for each group of commands.
//!
//! A command speaks to the API ([`client`]) and shows the answer ([`out`]); only `db` opens the
//! database itself. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod approval;
mod args;
mod ask;
mod audit;
mod chat;
mod client;
mod config;
mod db;
mod doctor;
mod init;
mod memory;
mod models;
mod out;
mod outbox;
mod provider;
mod run;
mod schedule;
mod session;
mod skill;
mod status;
mod token;
mod trace;
mod trouble;
mod usage;
mod user;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser as _};

use crate::config::{Loaded, Source};
use args::{Args, Command};
use out::Style;
use trouble::Trouble;

/// What every command knows.
struct Setup {
    source: Source,
    style: Style,
}

impl Setup {
    fn load(&self) -> Result<Loaded> {
        crate::config::load(&self.source).map_err(|error| {
            let hint =
                "`nexflow config check` shows more, `nexflow config schema` what is possible";
            Trouble::usage(error).hint(hint).into()
        })
    }
}

/// Runs the command that the arguments name; answers the exit code.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output; nobody is left to tell if that fails.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (text, code) = trouble::tell(&error);
            out::aside(&text);
            ExitCode::from(code)
        }
    }
}

fn dispatch(args: Args) -> Result<()> {
    let setup = Setup {
        source: Source {
            file: args.global.config,
            data_dir: args.global.data_dir,
        },
        style: Style::new(args.global.no_color),
    };
    match args.command.unwrap_or(Command::Run) {
        Command::Config(command) => config::run(&setup, &command),
        Command::Db(command) => db::run(&setup, command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "nexflow", &mut script);
            out::raw(&String::from_utf8_lossy(&script))
        }
        command => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            let done = runtime.block_on(Box::pin(speak(&setup, command)));
            // A read of the keyboard that nobody waits for must not keep the program.
            runtime.shutdown_background();
            done
        }
    }
}

/// Commands that need the agent.
async fn speak(setup: &Setup, command: Command) -> Result<()> {
    match command {
        Command::Init => init::run(setup).await,
        Command::Chat(args) => chat::run(setup, args).await,
        Command::Status { json } => status::run(setup, json).await,
        Command::Doctor { json, probe } => doctor::run(setup, (json, probe)).await,
        Command::Trace { message_id, json } => trace::run(setup, &message_id, json).await,
        Command::Bench { name } => crate::bench::run(name.as_deref()).await,
        command => manage(setup, command).await,
    }
}

/// Commands about who comes in, and what they did.
async fn admit(setup: &Setup, command: Command) -> Result<()> {
    match command {
        Command::User(command) => user::run(setup, command).await,
        Command::Token(command) => token::run(setup, command).await,
        Command::Audit(command) => audit::run(setup, command).await,
        _ => run::run(setup).await,
    }
}

/// Commands about one kind of thing.
async fn manage(setup: &Setup, command: Command) -> Result<()> {
    match command {
        Command::Session(command) => session::run(setup, command).await,
        Command::Skill(command) => skill::run(setup, command).await,
        Command::Schedule(command) => schedule::run(setup, command).await,
        Command::Approval(command) => approval::run(setup, command).await,
        Command::Memory(command) => memory::run(setup, command).await,
        Command::Outbox(command) => outbox::run(setup, command).await,
        Command::Provider(command) => provider::run(setup, command).await,
        Command::Resume => outbox::resume(setup).await,
        Command::Models(command) => models::run(setup, command).await,
        Command::Usage(args) => usage::run(setup, args).await,
        command => admit(setup, command).await,
    }
}
