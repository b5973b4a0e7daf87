//! Errors for people: what failed, what to do, and the exit code.

use std::fmt;

use serde_json::Value;

/// What failed, with what to do about it.
#[derive(Debug)]
pub(super) struct Trouble {
    what: String,
    hint: Option<String>,
    code: u8,
}

impl Trouble {
    /// Something failed.
    pub(super) fn new(what: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            hint: None,
            code: 1,
        }
    }

    /// The command or the configuration is wrong.
    pub(super) fn usage(what: impl fmt::Display) -> Self {
        Self {
            code: 2,
            ..Self::new(what)
        }
    }

    /// What to do.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// From an error body of the API.
    pub(super) fn api(status: http::StatusCode, body: &Value) -> Self {
        let part = |key| body.pointer(key).and_then(Value::as_str);
        let what = match part("/error/message") {
            Some(message) => Self::new(message),
            None => Self::new(format_args!("nexflow answered {status}")),
        };
        match part("/error/code").and_then(hint) {
            Some(hint) => what.hint(hint),
            None => what,
        }
    }
}

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "SKILL_NOT_FOUND" => "`nexflow skill list` shows what there is",
        "SKILL_NOT_USABLE" => {
            "`nexflow skill show NAME` says what it asks for, `nexflow skill trust NAME` allows it"
        }
        "SESSION_NOT_FOUND" => "`nexflow session list` shows what there is",
        "NOT_FOUND" => "the `list` commands show the ids of what there is",
        "AGENT_NOT_FOUND" => "leave out --agent to speak to the default agent",
        "INTERNAL" => "the log of `nexflow run` has more; `nexflow doctor` looks for causes",
        "STOPPING" => "try again in a moment",
        _ => return None,
    })
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Trouble {}

/// What to say about an error, and the code to exit with. Nothing to say where the reader of our
/// output went away, as `head` does.
pub(super) fn tell(error: &anyhow::Error) -> (String, u8) {
    let closed = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<std::io::Error>().is_some_and(closed) {
        return (String::new(), 0);
    }
    let trouble = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Trouble>());
    let mut text = format!("Error: {error:#}\n");
    if let Some(hint) = trouble.and_then(|t| t.hint.as_deref()) {
        text.push_str("Hint: ");
        text.push_str(hint);
        text.push('\n');
    }
    (text, trouble.map_or(1, |t| t.code))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_says_what_failed_and_what_to_do() {
        let body =
            json!({ "error": { "code": "SKILL_NOT_FOUND", "message": "there is no skill `x`" } });
        let error = Trouble::api(http::StatusCode::NOT_FOUND, &body);
        let (text, code) = tell(&anyhow::Error::new(error).context("cannot run it"));
        assert_eq!(
            text,
            "Error: cannot run it: there is no skill `x`\nHint: `nexflow skill list` shows what there is\n"
        );
        assert_eq!(code, 1);
        assert_eq!(tell(&Trouble::usage("no such file").into()).1, 2);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let gone: std::io::Result<()> = Err(std::io::ErrorKind::BrokenPipe.into());
        let gone = gone.context("cannot write").unwrap_err();
        assert_eq!(tell(&gone), (String::new(), 0));
    }
}
