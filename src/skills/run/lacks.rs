//! What a run that failed lacked, from what is known of it: how it ended, what it was not granted,
//! what its manifest needs, and the errors of the interpreter and the kernel in its last words.

use crate::{
    sandbox::{End, Outcome},
    skills::{
        Skill,
        needs::Need,
        permission::{Grant, Permission},
    },
    types::text::shorten,
};

/// Lines at the end of standard error that are looked at.
const LAST: usize = 12;

/// What it lacked and how to add it, in one line; none if nothing is known to be lacking.
pub(super) fn lacks(skill: &Skill, outcome: &Outcome, stderr: &str) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    let lines: Vec<&str> = stderr.lines().rev().take(LAST).collect();
    for line in &lines {
        if let Some(what) = from_line(skill, line.trim())
            && !found.contains(&what)
        {
            found.push(what);
        }
    }
    found.extend(from_end(skill, outcome.end, lines.first().copied()));
    let mut said = Vec::new();
    if !found.is_empty() {
        said.push(format!("It lacks: {}.", found.join("; ")));
    }
    let needs: Vec<String> = skill.needs.iter().filter_map(Need::lacking).collect();
    if !needs.is_empty() {
        let needs = needs.join("; ");
        said.push(format!("Its SKILL.md needs what is not here: {needs}."));
    }
    (!said.is_empty()).then(|| said.join(" "))
}

/// How a person adds a permission.
fn add(skill: &Skill, permission: &str) -> String {
    format!(
        "the permission `{permission}` (add it to `permissions:` in its SKILL.md and trust it again, or to skills.grants.{} in the configuration)",
        skill.name
    )
}

fn has(skill: &Skill, wanted: fn(&Grant) -> bool) -> bool {
    let grants = |p: &Permission| wanted(p.grant());
    skill.granted.iter().any(grants)
}

/// By exit code: shells answer 126 for a program that they may not start, 127 for one that is not
/// there.
fn from_end(skill: &Skill, end: End, last: Option<&str>) -> Option<String> {
    let End::Exited(code @ (126 | 127)) = end else {
        return None;
    };
    let last = shorten(last.unwrap_or_default().trim(), 200);
    let what = if code == 127 {
        "is not there"
    } else {
        "may not be started"
    };
    let shell = if has(skill, |g| matches!(g, Grant::Shell)) {
        String::new()
    } else {
        format!(", or {}", add(skill, "shell"))
    };
    Some(format!("a program that {what} ({last}): install it{shell}"))
}

/// By an error of the interpreter or the kernel, in its fixed words.
fn from_line(skill: &Skill, line: &str) -> Option<String> {
    if let Some(module) = module(line) {
        return Some(format!(
            "the {module}, which is not installed: put it into the skill's folder, or install it for all users of this machine"
        ));
    }
    if let Some(name) = variable(line) {
        return Some(format!(
            "the variable {name}: set it in skills.secrets (or skills.env), and {}",
            add(skill, &format!("secret:{name}"))
        ));
    }
    if is_network(line) && !has(skill, |g| matches!(g, Grant::Network(_))) {
        return Some(add(skill, "network:HOST:443"));
    }
    if is_read_only(line) {
        return Some(add(skill, "filesystem"));
    }
    None
}

fn module(line: &str) -> Option<String> {
    let quoted = |rest: &str| rest.split('\'').nth(1).map(str::to_owned);
    if line.starts_with("ModuleNotFoundError: No module named") {
        return quoted(line).map(|name| format!("Python module `{name}`"));
    }
    let node = ["Cannot find package '", "Cannot find module '"];
    let start = node.iter().find_map(|words| line.find(words))?;
    let name = quoted(line.get(start..)?)?;
    line.contains("Error")
        .then(|| format!("Node module `{name}`"))
}

fn variable(line: &str) -> Option<String> {
    let named = |name: &str| {
        let all = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        (name.len() > 2 && name.chars().all(all)).then(|| name.to_owned())
    };
    if let Some(rest) = line.strip_prefix("KeyError: '") {
        return named(rest.trim_end_matches('\''));
    }
    let unbound = [
        ": unbound variable",
        ": parameter null or not set",
        ": parameter not set",
    ];
    let rest = unbound.iter().find_map(|end| line.strip_suffix(end))?;
    named(rest.rsplit(' ').next()?)
}

/// Failures to reach anything, as curl, Python and Node put them.
fn is_network(line: &str) -> bool {
    let words = [
        "[Errno -2]",
        "[Errno -3]",
        "[Errno 101]",
        "getaddrinfo EAI_AGAIN",
        "getaddrinfo ENOTFOUND",
        "connect ENETUNREACH",
        "curl: (5) ",
        "curl: (6) ",
        "curl: (7) ",
        "Could not resolve host",
        "Network is unreachable",
    ];
    words.iter().any(|word| line.contains(word))
}

fn is_read_only(line: &str) -> bool {
    let words = [
        "[Errno 30]",
        "[Errno 13]",
        "EROFS",
        "EACCES",
        "Read-only file system",
    ];
    words.iter().any(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_and_other_words_are_not() {
        assert_eq!(
            module("ModuleNotFoundError: No module named 'pymupdf'").as_deref(),
            Some("Python module `pymupdf`")
        );
        let node = "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'ws' imported from /x.mjs";
        assert_eq!(module(node).as_deref(), Some("Node module `ws`"));
        assert_eq!(module("the module is not named"), None);
        assert_eq!(variable("KeyError: 'API_KEY'").as_deref(), Some("API_KEY"));
        assert_eq!(variable("KeyError: 'x'"), None);
        assert_eq!(
            variable("run.sh: line 3: API_KEY: unbound variable").as_deref(),
            Some("API_KEY")
        );
        assert!(is_network("curl: (6) Could not resolve host: example.org"));
        assert!(!is_network("network is a nice word"));
        assert!(is_read_only(
            "OSError: [Errno 30] Read-only file system: '/x'"
        ));
    }
}
