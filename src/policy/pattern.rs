//! What a lasting answer allows: patterns on what a call does, never "this interpreter may run
//! anything". The text is shown before the answer is given.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{command, fingerprint::canonical};
use crate::types::text::shorten;

/// A pattern of calls of one tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// For a person.
    pub text: String,
    /// What has to hold.
    #[serde(flatten)]
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Rule {
    /// Simple commands that begin with these words.
    Command { words: Vec<String> },
    /// Requests with this method to this scheme, host and port.
    Host { method: String, origin: String },
    /// Files below this folder.
    Folder { folder: String },
    /// This file.
    File { path: String },
    /// These arguments and no others.
    Exact { args: String },
}

impl Pattern {
    /// What a lasting answer to this call would allow.
    pub fn of(tool: &str, args: &Value) -> Self {
        let special = match tool {
            "shell-run" => command_of(args),
            "http-request" => host_of(args),
            "file-write" => file_of(args),
            _ => None,
        };
        special.unwrap_or_else(|| {
            let args = canonical(args);
            Self {
                text: format!("`{tool}` with exactly {}", shorten(&args, 400)),
                rule: Rule::Exact { args },
            }
        })
    }

    /// As it was stored; none if it cannot be read, which then allows nothing.
    pub fn read(stored: &Value) -> Option<Self> {
        Self::deserialize(stored).ok()
    }

    /// Whether a call of the same tool falls under it.
    pub fn fits(&self, args: &Value) -> bool {
        let text = |key: &str| args.get(key).and_then(Value::as_str).unwrap_or_default();
        match &self.rule {
            Rule::Command { words } => command::parse(text("command"))
                .is_some_and(|given| !words.is_empty() && given.starts_with(words)),
            Rule::Host { method, origin } => {
                request(args).is_some_and(|(m, o)| (&m, &o) == (method, origin))
            }
            Rule::Folder { folder } => plain_path(text("path")).is_some_and(|given| {
                let (given, folder) = (Path::new(&given), Path::new(folder));
                given != folder && given.starts_with(folder)
            }),
            Rule::File { path } => plain_path(text("path")).as_ref() == Some(path),
            Rule::Exact { args: wanted } => canonical(args) == *wanted,
        }
    }
}

fn command_of(args: &Value) -> Option<Pattern> {
    let words = command::beginning(args.get("command")?.as_str()?)?;
    Some(Pattern {
        text: format!("commands `{} *`", words.join(" ")),
        rule: Rule::Command { words },
    })
}

fn request(args: &Value) -> Option<(String, String)> {
    let url = Url::parse(args.get("url")?.as_str()?).ok()?;
    let method = args.get("method").and_then(Value::as_str).unwrap_or("GET");
    let origin = url.origin();
    origin
        .is_tuple()
        .then(|| (method.to_ascii_uppercase(), origin.ascii_serialization()))
}

fn host_of(args: &Value) -> Option<Pattern> {
    let (method, origin) = request(args)?;
    Some(Pattern {
        text: format!("{method} requests to {origin}"),
        rule: Rule::Host { method, origin },
    })
}

/// A path that goes nowhere but down, without `./`.
fn plain_path(text: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(text).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn file_of(args: &Value) -> Option<Pattern> {
    let path = plain_path(args.get("path")?.as_str()?)?;
    let pattern = match path.rsplit_once('/') {
        Some((folder, _)) => Pattern {
            text: format!("writing files below `{folder}/`"),
            rule: Rule::Folder {
                folder: folder.to_owned(),
            },
        },
        None => Pattern {
            text: format!("writing the file `{path}`"),
            rule: Rule::File { path },
        },
    };
    Some(pattern)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(tool: &str, given: &Value, other: &Value) -> bool {
        let pattern = Pattern::of(tool, given);
        assert!(pattern.fits(given), "{pattern:?}");
        let stored = serde_json::to_value(&pattern).unwrap();
        Pattern::read(&stored).unwrap().fits(other)
    }

    #[test]
    fn commands_are_alike_by_their_program() {
        let command = |text: &str| json!({ "command": text });
        assert!(fits(
            "shell-run",
            &command("git status"),
            &command("git status -s")
        ));
        for other in [
            "git push",
            "git status; id",
            "git statusx",
            "git",
            "git status $(id)",
        ] {
            assert!(
                !fits("shell-run", &command("git status"), &command(other)),
                "{other}"
            );
        }
        assert!(!fits(
            "shell-run",
            &command("python3 a.py"),
            &command("python3 b.py")
        ));
        assert!(!fits(
            "shell-run",
            &command("ls | wc"),
            &command("ls | wc -l")
        ));
    }

    #[test]
    fn requests_are_alike_by_method_and_host() {
        let url = |url: &str| json!({ "url": url });
        assert!(fits(
            "http-request",
            &url("https://a.example/x"),
            &url("https://a.example/y?z")
        ));
        for other in [
            "https://b.example/x",
            "http://a.example/x",
            "https://a.example:8443/",
            "https://a.example@b.example/",
            "x",
        ] {
            assert!(
                !fits("http-request", &url("https://a.example/x"), &url(other)),
                "{other}"
            );
        }
        let post = json!({ "url": "https://a.example/x", "method": "POST" });
        assert!(!fits("http-request", &url("https://a.example/x"), &post));
    }

    #[test]
    fn files_are_alike_by_their_folder_and_other_calls_by_everything() {
        let path = |path: &str| json!({ "path": path, "content": "any" });
        assert!(fits(
            "file-write",
            &path("notes/a.md"),
            &path("./notes/b/c.md")
        ));
        for other in ["notes", "notesx/a", "other/a", "notes/../b", "/notes/a"] {
            assert!(
                !fits("file-write", &path("notes/a.md"), &path(other)),
                "{other}"
            );
        }
        assert!(!fits("file-write", &path("a.md"), &path("b.md")));

        let same = json!({ "b": 1, "a": { "d": 1, "c": 2 } });
        assert!(fits(
            "other",
            &json!({ "a": { "c": 2, "d": 1 }, "b": 1 }),
            &same
        ));
        assert!(!fits(
            "other",
            &json!({ "a": 1 }),
            &json!({ "a": 1, "b": 2 })
        ));
    }

    #[test]
    fn the_pattern_says_what_it_allows() {
        let text = |tool: &str, args: Value| Pattern::of(tool, &args).text;
        assert_eq!(
            text("shell-run", json!({ "command": "git status" })),
            "commands `git status *`"
        );
        assert_eq!(
            text(
                "http-request",
                json!({ "url": "https://a.example/x", "method": "post" })
            ),
            "POST requests to https://a.example"
        );
        assert_eq!(
            text("file-write", json!({ "path": "a/b/c" })),
            "writing files below `a/b/`"
        );
        assert_eq!(text("x", json!({ "a": 1 })), "`x` with exactly {\"a\":1}");
    }
}
