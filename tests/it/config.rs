//! The configuration as the real binary reads it.

use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::text;

/// A folder with a configuration.
struct Place(TempDir);

impl Place {
    fn with(config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("config.yml"), config).unwrap();
        Self(folder)
    }

    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        std::process::Command::new(env!("CARGO_BIN_EXE_nexflow"))
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .envs(env.iter().copied())
            .output()
            .unwrap()
    }

    fn shown(&self, env: &[(&str, &str)]) -> Value {
        let output = self.run(&["config", "show", "--json"], env);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Exit code and everything that was said.
    fn checked(&self, env: &[(&str, &str)]) -> (i32, String) {
        let output = self.run(&["config", "check"], env);
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code().unwrap(), said)
    }
}

#[test]
fn short_keys_are_not_shown() {
    let place = Place::with("llm: { providers: { openai: { api_key: abc } } }\n");
    assert_eq!(
        place.shown(&[])["llm"]["providers"]["openai"]["api_key"],
        "[secret]"
    );
}

#[test]
fn a_mistake_tells_no_secret() {
    let place = Place::with("skills:\n  secrets: hunter2hunter2\n");
    let (code, said) = place.checked(&[]);
    assert_eq!(code, 2);
    assert!(said.contains("line 2: skills.secrets: "), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_section_that_cannot_be_used_is_a_mistake() {
    let place = Place::with("llm:\n  providers:\n    openai:\n      model: 5\n");
    let (code, said) = place.checked(&[]);
    assert_eq!(code, 2);
    assert!(said.contains("llm.providers.openai: `model`"), "{said}");
}

#[test]
fn numbers_come_from_variables_and_overrides() {
    let place = Place::with("server: { port: \"${PORT:-9000}\" }\n");
    assert_eq!(place.shown(&[])["server"]["port"], 9000);
    assert_eq!(place.shown(&[("PORT", "9001")])["server"]["port"], 9001);
    let env = [("PORT", "9001"), ("NEXFLOW__SERVER__PORT", "9002")];
    assert_eq!(place.shown(&env)["server"]["port"], 9002);
    assert_eq!(place.checked(&[("PORT", "many")]).0, 2);
}

#[test]
fn a_relative_data_directory_of_the_environment_is_meant_from_here() {
    let place = Place::with("{}\n");
    let file = TempDir::new().unwrap();
    let path = file.path().join("other.yml");
    std::fs::write(&path, "data_dir: ./data\n").unwrap();
    let config = path.to_str().unwrap();
    let env = [("NEXFLOW_CONFIG", config), ("NEXFLOW__DATA_DIR", "mine")];
    let shown = place.shown(&env)["data_dir"].clone();
    let here = place.0.path().canonicalize().unwrap().join("mine");
    assert_eq!(shown.as_str(), here.to_str());
    let shown = place.shown(&[("NEXFLOW_CONFIG", config)])["data_dir"].clone();
    assert!(
        shown
            .as_str()
            .unwrap()
            .starts_with(file.path().to_str().unwrap())
    );
}

#[test]
fn the_example_has_no_mistakes() {
    let place = Place::with(include_str!("../../config.example.yml"));
    let (code, said) = place.checked(&[]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("${OPENAI_API_KEY} is not set, so this is off"),
        "{said}"
    );
}

#[test]
fn keys_that_stand_twice_are_told_with_their_place() {
    let place = Place::with("server:\n  port: 1\n  port: 2\n");
    let (code, said) = place.checked(&[]);
    assert_eq!(code, 2);
    assert!(said.contains("config.yml:3:"), "{said}");
}
