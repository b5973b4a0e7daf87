//! The arguments. Each group of commands has its own in its file.

use std::path::PathBuf;

use clap::{Parser, Subcommand, builder::FalseyValueParser};

use super::{
    approval, audit, chat, config, db, memory, models, outbox, provider, schedule, session, skill,
    token, usage, user,
};

const EXAMPLES: &str = "\
Examples:
  nexflow init                       write config.yml and print a login link
  nexflow                            start the daemon and the web page
  nexflow chat \"what can you do?\"    ask once; without a text, talk
  nexflow doctor                     what is wrong and how to mend it

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";

/// A self-hosted personal AI agent: one daemon, durable turns, sandboxed skills.
#[derive(Debug, Parser)]
#[command(name = "nexflow", version, after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Global {
    /// The file to read instead of the first of `$NEXFLOW_CONFIG`, ./config.yml and
    /// ~/.config/nexflow/config.yml that is there
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where the database, workspaces and snapshots are kept
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// No colours; so does the variable `NO_COLOR`
    #[arg(long, global = true, hide = true, env = "NO_COLOR", value_parser = FalseyValueParser::new())]
    pub(super) no_color: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start the daemon (what happens with no command)
    Run,
    /// Write a configuration, make the data directory, print a one-time login link
    Init,
    /// Send one message, or talk
    Chat(chat::Args),
    /// What runs
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// What is wrong and how to mend it
    Doctor {
        /// Try each provider with two short requests too: key, model, streaming and tools. Costs a few
        /// tokens each
        #[arg(long)]
        probe: bool,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// What happened to a message: inbox, turn, model calls, tools, delivery
    Trace {
        /// Id of a message, or of its answer
        message_id: String,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Conversations
    #[command(subcommand)]
    Session(session::Command),
    /// Skills: list, write, test, run, trust
    #[command(subcommand)]
    Skill(skill::Command),
    /// Reminders and repeated jobs
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// What the agent asks to be allowed
    #[command(subcommand)]
    Approval(approval::Command),
    /// Answers on their way, and those that wait for a decision
    #[command(subcommand)]
    Outbox(outbox::Command),
    /// Providers of models: how they do, trying them
    #[command(subcommand)]
    Provider(provider::Command),
    /// Leave safe mode: answer messages again after a crash loop
    Resume,
    /// What the agent keeps in mind
    #[command(subcommand)]
    Memory(memory::Command),
    /// What the model providers have; fetch a local model
    #[command(subcommand)]
    Models(models::Command),
    /// Who may talk, and strangers who ask to be let in
    #[command(subcommand)]
    User(user::Command),
    /// API tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Who did what, and whether that is all of it
    #[command(subcommand)]
    Audit(audit::Command),
    /// What model calls took and cost
    Usage(usage::Args),
    /// The configuration
    #[command(subcommand)]
    Config(config::Command),
    /// The database file
    #[command(subcommand)]
    Db(db::Command),
    /// Measure this machine
    Bench {
        /// One measurement; all without
        name: Option<String>,
    },
    /// Print a script that completes commands in a shell
    #[command(
        after_help = "Example: nexflow completions bash > ~/.local/share/bash-completion/completions/nexflow"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_help_says_what_there_is() {
        let mut command = Args::command().term_width(100);
        insta::assert_snapshot!(command.render_help(), @r#"
        A self-hosted personal AI agent: one daemon, durable turns, sandboxed skills

        Usage: nexflow [OPTIONS] [COMMAND]

        Commands:
          run          Start the daemon (what happens with no command)
          init         Write a configuration, make the data directory, print a one-time login link
          chat         Send one message, or talk
          status       What runs
          doctor       What is wrong and how to mend it
          trace        What happened to a message: inbox, turn, model calls, tools, delivery
          session      Conversations
          skill        Skills: list, write, test, run, trust
          schedule     Reminders and repeated jobs
          approval     What the agent asks to be allowed
          outbox       Answers on their way, and those that wait for a decision
          provider     Providers of models: how they do, trying them
          resume       Leave safe mode: answer messages again after a crash loop
          memory       What the agent keeps in mind
          models       What the model providers have; fetch a local model
          user         Who may talk, and strangers who ask to be let in
          token        API tokens
          audit        Who did what, and whether that is all of it
          usage        What model calls took and cost
          config       The configuration
          db           The database file
          bench        Measure this machine
          completions  Print a script that completes commands in a shell
          help         Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help
          -V, --version  Print version

        Everywhere:
              --config <FILE>   The file to read instead of the first of `$NEXFLOW_CONFIG`, ./config.yml and
                                ~/.config/nexflow/config.yml that is there
              --data-dir <DIR>  Where the database, workspaces and snapshots are kept

        Examples:
          nexflow init                       write config.yml and print a login link
          nexflow                            start the daemon and the web page
          nexflow chat "what can you do?"    ask once; without a text, talk
          nexflow doctor                     what is wrong and how to mend it

        Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
        "#);
    }
}
