//! Calls in plain words, for the person who decides.

use serde_json::Value;
use similar::TextDiff;

use crate::types::text::shorten;

/// The longest value of an argument in a summary, in bytes.
const VALUE: usize = 200;
/// The longest difference that is shown, in bytes.
const DIFF: usize = 64 << 10;

/// What a call does.
pub fn summary(tool: &str, args: &Value) -> String {
    let text = |key: &str| args.get(key).and_then(Value::as_str);
    let short = |key: &str| text(key).map(|value| shorten(value, VALUE));
    let known = match tool {
        "shell-run" => short("command").map(|command| format!("Run the command `{command}`")),
        "http-request" => short("url").map(|url| {
            let method = text("method").unwrap_or("GET");
            format!("Send a {method} request to {url}")
        }),
        "file-write" => short("path").map(|path| {
            let bytes = text("content").unwrap_or_default().len();
            format!("Write {bytes} bytes to the file `{path}`")
        }),
        "git-basic" => short("action").map(|action| format!("Run `git {action}` in the workspace")),
        "remember" => short("text").map(|fact| format!("Keep the fact: {fact}")),
        "forget" => short("id").map(|id| format!("Forget the kept fact {id}")),
        _ => None,
    };
    known.unwrap_or_else(|| general(tool, args))
}

fn general(tool: &str, args: &Value) -> String {
    let given: Vec<String> = args
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{key}: {}", shorten(&value, VALUE))
        })
        .collect();
    if given.is_empty() {
        format!("Run `{tool}`")
    } else {
        format!("Run `{tool}` with {}", given.join(", "))
    }
}

/// Where the result of a call came from, to be read after "because".
pub fn origin(tool: &str, args: &Value) -> String {
    let text = |key: &str| args.get(key).and_then(Value::as_str);
    if let Some(url) = text("url") {
        return format!(
            "the page {} was read in this conversation",
            shorten(url, VALUE)
        );
    }
    let what = ["repo", "path", "query", "id"]
        .iter()
        .find_map(|key| text(key))
        .map(|value| format!(" ({})", shorten(value, VALUE)))
        .unwrap_or_default();
    format!("`{tool}`{what} brought text from outside into this conversation")
}

/// The same of a file that was read, in a workspace that holds such text.
pub fn file_origin(tool: &str, args: &Value) -> String {
    let path = args.get("path").and_then(Value::as_str);
    let what = path.map(|path| format!(" ({})", shorten(path, VALUE)));
    format!(
        "`{tool}`{} read files of a workspace into which text from outside was written",
        what.unwrap_or_default()
    )
}

/// The change of a file, as a unified diff; what is longer than can be shown is cut.
pub fn diff(path: &str, old: &str, new: &str) -> String {
    let difference = TextDiff::configure()
        .timeout(std::time::Duration::from_millis(200))
        .diff_lines(old, new);
    let text = difference
        .unified_diff()
        .context_radius(3)
        .header(&format!("a/{path}"), &format!("b/{path}"))
        .to_string();
    shorten(&text, DIFF)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_told_in_words() {
        let all = [
            ("shell-run", json!({ "command": "ls -la" })),
            (
                "http-request",
                json!({ "url": "https://a.example/", "method": "POST" }),
            ),
            ("file-write", json!({ "path": "a.txt", "content": "abc" })),
            ("pay", json!({ "to": "bob", "amount": 5 })),
            ("pay", json!({})),
        ];
        let told: Vec<String> = all.iter().map(|(tool, args)| summary(tool, args)).collect();
        insta::assert_snapshot!(told.join("\n"), @"
        Run the command `ls -la`
        Send a POST request to https://a.example/
        Write 3 bytes to the file `a.txt`
        Run `pay` with to: bob, amount: 5
        Run `pay`
        ");
    }

    #[test]
    fn a_change_of_a_file_is_a_unified_diff() {
        insta::assert_snapshot!(diff("a.txt", "one\ntwo\n", "one\n2\n"), @"
        --- a/a.txt
        +++ b/a.txt
        @@ -1,2 +1,2 @@
         one
        -two
        +2
        ");
    }
}
