//! Permissions in plain words, for the person who is asked to grant them. Facts about what each one
//! lets a program do; whether that is wise is for the person to say.

use serde::Serialize;

use super::permission::{Grant, Permission, Place};
use crate::sandbox::Rule;

/// A permission and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Words {
    /// As SKILL.md has it.
    pub permission: String,
    /// In plain words.
    pub text: String,
    /// What could go wrong with it; empty where it reaches nothing of the person's.
    pub risk: String,
    /// The program holds the secret itself, not a stand-in for it.
    pub raw_value: bool,
}

/// What a permission means.
pub fn explain(permission: &Permission) -> Words {
    let (text, risk) = match permission.grant() {
        Grant::Shell => (
            "may start the programs that are installed on this machine".to_owned(),
            "any installed program, within the same walls as the skill itself",
        ),
        Grant::Exec(path) => (
            format!("may start the program {}", path.display()),
            "a program outside the system's folders",
        ),
        Grant::Files { place, write } => files(place, *write),
        Grant::Network(rule) => network(permission, rule),
        Grant::Env(name) => (format!("gets the setting {name} of skills.env"), ""),
        Grant::Secret {
            name,
            host: Some(host),
        } => (
            format!("may use the secret {name} in requests to {host}, without seeing its value"),
            "whoever controls that host, or what the skill sends there, acts with this secret",
        ),
        Grant::Secret { name, host: None } => (
            format!("gets the raw value of the secret {name}"),
            "raw value: it can be written wherever the skill can write or send",
        ),
        Grant::Ability(word) => ability(word),
    };
    Words {
        permission: permission.to_string(),
        text,
        risk: risk.to_owned(),
        raw_value: is_raw(permission),
    }
}

/// Whether it hands out a secret itself.
pub fn is_raw(permission: &Permission) -> bool {
    matches!(permission.grant(), Grant::Secret { host: None, .. })
}

fn files(place: &Place, write: bool) -> (String, &'static str) {
    let (shown, inside) = match place {
        Place::Workspace(rel) if rel.as_os_str().is_empty() => {
            ("the workspace of the conversation".to_owned(), true)
        }
        Place::Workspace(rel) => (format!("{} in the workspace", rel.display()), true),
        Place::Skill(rel) => (format!("{} in its own folder", rel.display()), true),
        Place::Home(rel) => (format!("~/{}", rel.display()), false),
        Place::Absolute(path) => (path.display().to_string(), false),
    };
    match (write, inside) {
        (false, true) => (format!("reads {shown}"), ""),
        (true, true) => (format!("reads, changes and deletes files in {shown}"), ""),
        (false, false) => (
            format!("reads {shown} and everything below"),
            "files outside the workspace",
        ),
        (true, false) => (
            format!("reads, changes and deletes {shown} and everything below"),
            "changes files outside the workspace",
        ),
    }
}

fn network(permission: &Permission, rule: &Rule) -> (String, &'static str) {
    match (rule, permission.as_str().strip_prefix("network:")) {
        (Rule::Loopback, _) => (
            "may open network connections to itself, inside its own sandbox".to_owned(),
            "",
        ),
        (_, None) => (
            "reaches any public web site".to_owned(),
            "what it knows can be sent anywhere, and what it reads can come from anyone",
        ),
        (_, Some(host)) if host.starts_with("*.") => (
            format!("reaches every host below {}", host.trim_start_matches("*.")),
            "what it knows can be sent there",
        ),
        (_, Some(host)) => (
            format!("reaches {host} and no other host"),
            "what it knows can be sent there",
        ),
    }
}

fn ability(word: &str) -> (String, &'static str) {
    match word {
        "schedule" => ("adds, lists and cancels reminders".to_owned(), ""),
        "memory:read" => (
            "searches what the agent keeps in mind".to_owned(),
            "reads private facts",
        ),
        "memory:write" => (
            "adds to what the agent keeps in mind".to_owned(),
            "what it adds is read by later conversations",
        ),
        "message:send" => (
            "writes messages into the conversation it is used in".to_owned(),
            "its text reaches the person as a message, marked with its name",
        ),
        "llm" => (
            "asks the model".to_owned(),
            "spends tokens, and what it sends goes to the provider",
        ),
        _ => (
            format!("asks the model for {}", word.trim_start_matches("llm:")),
            "spends tokens, and what it sends goes to the provider",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dangerous_is_said() {
        let of = |text: &str| explain(&Permission::parse(text).unwrap());
        assert!(of("network").text.contains("any public web site"));
        assert!(of("network").risk.contains("anywhere"));
        assert!(of("filesystem:write:/srv/x").risk.contains("outside"));
        assert_eq!(of("filesystem").risk, "");
        assert!(of("secret:TOKEN").raw_value);
        assert!(of("secret:TOKEN").risk.starts_with("raw value"));
        assert!(!of("secret:TOKEN@api.github.com").raw_value);
        assert!(
            of("network:api.github.com:443")
                .text
                .contains("no other host")
        );
    }
}
