//! What a lasting answer allows: patterns on what a call does, never "this interpreter may run
//! anything". The text is shown before the answer is given.

use std::{
    cell::OnceCell,
    path::{Component, Path},
};

use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::{command, fingerprint::canonical};
use crate::types::text::shorten;

/// A pattern of calls of one tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pattern {
    /// For a person.
    pub text: String,
    /// What has to hold.
    #[serde(flatten)]
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
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
}

/// The arguments of a call, read as far and as often as patterns ask.
pub struct Arguments<'a> {
    args: &'a Value,
    command: OnceCell<Option<Vec<String>>>,
    request: OnceCell<Option<(String, String)>>,
    path: OnceCell<Option<String>>,
    exact: OnceCell<String>,
}

impl<'a> Arguments<'a> {
    /// Of a call.
    pub fn of(args: &'a Value) -> Self {
        Self {
            args,
            command: OnceCell::new(),
            request: OnceCell::new(),
            path: OnceCell::new(),
            exact: OnceCell::new(),
        }
    }

    fn text(&self, key: &str) -> &str {
        self.args
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn path(&self) -> Option<&str> {
        let read = || plain_path(self.text("path"));
        self.path.get_or_init(read).as_deref()
    }

    /// Whether a call of the same tool falls under a pattern as it is stored; nothing falls under one
    /// that cannot be read.
    pub fn fit(&self, pattern: &Value) -> bool {
        let wanted = |key: &str| pattern.get(key).and_then(Value::as_str);
        let fits = match wanted("kind") {
            Some("command") => self.command_fits(pattern.get("words")),
            Some("host") => self.request_fits(wanted("method"), wanted("origin")),
            Some("folder") => wanted("folder")
                .zip(self.path())
                .map(|(folder, path)| path != folder && Path::new(path).starts_with(folder)),
            Some("file") => wanted("path")
                .zip(self.path())
                .map(|(one, other)| one == other),
            Some("exact") => {
                wanted("args").map(|args| args == self.exact.get_or_init(|| canonical(self.args)))
            }
            _ => None,
        };
        fits.unwrap_or(false)
    }

    fn command_fits(&self, words: Option<&Value>) -> Option<bool> {
        let words = words?.as_array().filter(|words| !words.is_empty())?;
        let read = || command::parse(self.text("command"));
        let given = self.command.get_or_init(read).as_ref()?;
        let begins = words.len() <= given.len();
        Some(begins && words.iter().zip(given).all(|(one, other)| one == other))
    }

    fn request_fits(&self, method: Option<&str>, origin: Option<&str>) -> Option<bool> {
        let given = self.request.get_or_init(|| request(self.args)).as_ref()?;
        Some(method? == given.0 && origin? == given.1)
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
        let stored = serde_json::to_value(Pattern::of(tool, given)).unwrap();
        assert!(Arguments::of(given).fit(&stored), "{stored}");
        assert!(!Arguments::of(given).fit(&json!({ "kind": "other" })));
        Arguments::of(other).fit(&stored)
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
