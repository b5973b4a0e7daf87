//! Whether a rule of the configuration is about a call.

use serde_json::Value;

use super::{Case, Choice, Rule, command};

/// Whether everything that the rule names fits.
pub(super) fn fits(rule: &Rule, case: &Case<'_>) -> bool {
    rule.skill
        .as_deref()
        .is_none_or(|name| like(name, case.tool))
        && rule
            .channel
            .as_deref()
            .is_none_or(|name| like(name, case.channel))
        && rule.role.is_none_or(|role| role == case.role)
        && rule.when.iter().all(|(key, pattern)| {
            at(case.args, key).is_some_and(|value| value_fits(rule, (key, pattern), value))
        })
}

/// An argument by its name; a dot goes into an object.
fn at<'a>(args: &'a Value, key: &str) -> Option<&'a Value> {
    let deeper = || key.split('.').try_fold(args, |value, part| value.get(part));
    args.get(key).or_else(deeper)
}

/// Of a list, some item for a rule that asks or denies, every item for one that allows.
fn value_fits(rule: &Rule, (key, pattern): (&str, &str), value: &Value) -> bool {
    let one = |value: &Value| match value {
        Value::String(text) => {
            let allows = rule.decision == Choice::Allow && key == "command";
            // `git *` must not let `git status; rm -rf .` through.
            let whole =
                !allows || pattern == "*" || pattern == text || command::parse(text).is_some();
            whole && like(pattern, text)
        }
        other => like(pattern, &other.to_string()),
    };
    match value {
        Value::Array(items) if rule.decision == Choice::Allow => {
            !items.is_empty() && items.iter().all(one)
        }
        Value::Array(items) => items.iter().any(one),
        other => one(other),
    }
}

/// Whether a text is like a pattern in which `*` stands for any text, also none.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [
            ("*", ""),
            ("git *", "git status"),
            ("*://*.example.org/*", "https://a.example.org/x"),
            ("a*b*c", "abc"),
            ("a*b", "a b b"),
        ] {
            assert!(like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("git *", "git"),
            ("a*b*b", "ab"),
            ("a", "ab"),
            ("a*a", "a"),
            ("", "x"),
        ] {
            assert!(!like(pattern, text), "{pattern} {text}");
        }
    }
}
