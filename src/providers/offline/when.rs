//! Times as people say them: recognised, and handed on as they were said.
//!
//! Owns where such a phrase begins and ends. What moment it means is for the tool that keeps the
//! reminder: it knows the zone.

use std::sync::LazyLock;

use regex::Regex;

const NUMBER: &str = r"(?:\d{1,4}|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|sixty|ninety|half an|a couple of|a few)";
const UNIT: &str = r"(?:s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)";
const CLOCK: &str =
    r"(?:\d{1,2}(?::\d{2}){1,2}(?:\s?[ap]\.?m\.?)?|\d{1,2}\s?[ap]\.?m\.?|noon|midnight)";
const HOUR: &str = r"\d{1,2}(?:\s?o'?clock)?";
const WEEKDAY: &str = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?";
const DATE: &str = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{1,2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:?\d{2})?)?";

/// One of the ways to say a time, anchored by the caller.
fn phrase() -> String {
    let at = format!(r"(?:\s+at)?\s+(?:{CLOCK}|{HOUR})");
    let day = format!(
        r"(?:today|tonight|tomorrow(?:\s+(?:morning|afternoon|evening|night))?|(?:on\s+|next\s+|this\s+)?{WEEKDAY}|(?:on\s+)?{DATE})"
    );
    let pause = format!(r"(?:in|after)\s+{NUMBER}\s*{UNIT}(?:(?:\s+and)?\s+{NUMBER}\s*{UNIT})?");
    let every = format!(
        r"(?:every\s+(?:day|morning|evening|weekday|week|month|{WEEKDAY}|(?:{NUMBER}\s*)?{UNIT})|daily|weekly|monthly)(?:\s+at\s+(?:{CLOCK}|{HOUR}))?"
    );
    format!(
        r"(?:{pause}|{every}|{day}(?:{at})?|at\s+(?:{CLOCK}|{HOUR})(?:\s+(?:today|tomorrow|(?:on\s+)?{WEEKDAY}|(?:on\s+)?{DATE}))?|{CLOCK})"
    )
}

fn compiled(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

static LEADING: LazyLock<Option<Regex>> =
    LazyLock::new(|| compiled(&format!(r"(?is)^({})(?:\s*[,:]\s*|\s+|$)(.*)$", phrase())));
static TRAILING: LazyLock<Option<Regex>> =
    LazyLock::new(|| compiled(&format!(r"(?is)^(.*?\S)\s+({})\s*[.!]?$", phrase())));

/// A time at the beginning, and what is left without a `to` or `that` between.
pub(super) fn leading(text: &str) -> Option<(&str, &str)> {
    let found = LEADING.as_ref()?.captures(text.trim())?;
    let (when, rest) = (found.get(1)?.as_str(), found.get(2)?.as_str());
    Some((when, without_joint(rest)))
}

/// What comes before a time at the end, and the time.
pub(super) fn trailing(text: &str) -> Option<(&str, &str)> {
    let found = TRAILING.as_ref()?.captures(text.trim())?;
    Some((found.get(2)?.as_str(), found.get(1)?.as_str()))
}

/// Without the word that joins a reminder to its text.
pub(super) fn without_joint(text: &str) -> &str {
    let text = text.trim();
    for joint in ["to ", "that ", "about "] {
        if let (Some(head), Some(rest)) = (text.get(..joint.len()), text.get(joint.len()..))
            && head.eq_ignore_ascii_case(joint)
        {
            return rest.trim();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_at_the_beginning() {
        for (text, when, rest) in [
            (
                "in 20 minutes to drink water",
                "in 20 minutes",
                "drink water",
            ),
            ("in 2h 30m stretch", "in 2h 30m", "stretch"),
            ("in half an hour: tea", "in half an hour", "tea"),
            ("at 18:30 to call mum", "at 18:30", "call mum"),
            ("18:30 call mum", "18:30", "call mum"),
            ("at 6 pm that it rains", "at 6 pm", "it rains"),
            ("tomorrow at 9 to go", "tomorrow at 9", "go"),
            ("tomorrow 9:15 to go", "tomorrow 9:15", "go"),
            ("tomorrow morning to go", "tomorrow morning", "go"),
            ("on friday at noon pay", "on friday at noon", "pay"),
            (
                "every day at 8 am meditate",
                "every day at 8 am",
                "meditate",
            ),
            ("2027-01-05 10:00 dentist", "2027-01-05 10:00", "dentist"),
            ("at 9 tomorrow to go", "at 9 tomorrow", "go"),
            ("Tomorrow", "Tomorrow", ""),
        ] {
            assert_eq!(leading(text), Some((when, rest)), "{text}");
        }
        for text in [
            "to call mum",
            "sometime",
            "in the kitchen",
            "at home",
            "mondayish",
            "",
        ] {
            assert_eq!(leading(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_at_the_end() {
        assert_eq!(
            trailing("call mum in 2 hours"),
            Some(("in 2 hours", "call mum"))
        );
        assert_eq!(
            trailing("go at 18:30 tomorrow."),
            Some(("at 18:30 tomorrow", "go"))
        );
        assert_eq!(trailing("look in the oven"), None);
    }
}
