//! The real binary: help, exit codes, and the commands that need no daemon.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may fail where they stand"
)]

use std::{path::Path, process::Output};

use serde_json::Value;
use tempfile::TempDir;

/// A place of its own for each test: no file and no variable of this machine counts.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the program under test, not a skill"
    )]
    fn run(&self, args: &[&str]) -> Output {
        std::process::Command::new(env!("CARGO_BIN_EXE_nexflow"))
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("XDG_CONFIG_HOME", self.path().join("xdg"))
            .output()
            .unwrap()
    }

    fn code(&self, args: &[&str]) -> i32 {
        self.run(args).status.code().unwrap()
    }

    /// Standard output of a command that must not fail.
    fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert!(
            done.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }
}

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    assert!(help.contains("Exit codes: 0 done"), "{help}");
    for line in help
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
    {
        let Some(name) = line
            .split_whitespace()
            .next()
            .filter(|_| line.starts_with("  "))
        else {
            continue;
        };
        if line.starts_with("   ") || name == "help" {
            continue;
        }
        assert!(place.ok(&[name, "--help"]).contains("Usage:"), "{name}");
    }
    assert!(place.ok(&["--version"]).starts_with("nexflow "));
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    let place = Place::new();
    assert_eq!(place.code(&["no-such-command"]), 2);
    assert_eq!(place.code(&["session", "show"]), 2);
    assert_eq!(place.code(&["schedule", "add", "in 5 minutes"]), 2);
    assert_eq!(
        place.code(&["config", "show", "--config", "missing.yml"]),
        2
    );
    assert_eq!(place.code(&["skill", "validate", "missing"]), 1);
    let failed = place.run(&["config", "show", "--config", "missing.yml"]);
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(
        said.starts_with("Error: ") && said.contains("\nHint: "),
        "{said}"
    );
}

#[test]
fn the_configuration_is_checked_shown_and_described() {
    let place = Place::new();
    let checked = place.json(&["config", "check", "--json"]);
    assert_eq!(checked["ok"], true, "{checked}");
    let file = place.path().join("config.yml");
    std::fs::write(&file, "server:\n  port: 9123\n").unwrap();
    assert_eq!(
        place.json(&["config", "show", "--json"])["server"]["port"],
        9123
    );
    assert!(place.ok(&["config", "show"]).contains("port: 9123"));
    let schema = place.json(&["config", "schema"]);
    assert!(schema["properties"]["server"].is_object(), "{schema}");
    std::fs::write(&file, "server: [\n").unwrap();
    assert_eq!(place.code(&["config", "check"]), 2);
}

#[test]
fn secrets_are_not_shown() {
    let place = Place::new();
    let text = "llm:\n  providers:\n    openai:\n      api_key: sk-very-secret-value\n";
    std::fs::write(place.path().join("config.yml"), text).unwrap();
    let shown = place.ok(&["config", "show"]);
    assert!(!shown.contains("very-secret"), "{shown}");
}

#[test]
fn shells_can_complete_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            place.ok(&["completions", shell]).contains("doctor"),
            "{shell}"
        );
    }
    assert_eq!(place.code(&["completions", "abacus"]), 2);
}

#[test]
fn a_new_skill_is_sound_and_is_not_overwritten() {
    let place = Place::new();
    for runtime in ["bash", "python", "node"] {
        let name = format!("count-{runtime}");
        place.ok(&[
            "skill",
            "new",
            &name,
            "--runtime",
            runtime,
            "--directory",
            "mine",
        ]);
        let checked = place.json(&["skill", "validate", &format!("mine/{name}"), "--json"]);
        assert_eq!(checked["ok"], true, "{checked}");
        assert_eq!(
            place.code(&["skill", "new", &name, "--directory", "mine"]),
            1
        );
    }
    assert_eq!(place.code(&["skill", "new", "../outside"]), 2);
}
