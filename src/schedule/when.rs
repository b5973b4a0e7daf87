//! Times as people write them. What is not understood with certainty is an error that shows what is.

use std::{str::FromStr as _, sync::LazyLock};

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, TimeZone as _, Utc, Weekday};
use chrono_tz::Tz;
use croner::Cron;
use regex::{Captures, Regex};

use super::next_slot;
use crate::types::Timestamp;

/// When something fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Once.
    At(Timestamp),
    /// Again and again: a cron expression of five fields.
    Every(String),
}

/// Why a time was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// It was not understood.
    #[error(
        "`{0}` is not a time that I understand; try `in 20 minutes`, `at 18:30`, `tomorrow at 9`, `on friday at 8`, `on 2027-01-31 at 12:00`, `every day at 7:30`, `every 15 minutes` or a cron expression"
    )]
    Unclear(String),
    /// It is over.
    #[error("{0} is in the past")]
    Past(String),
    /// Nobody waits that long.
    #[error("that is more than ten years away")]
    Far,
}

const TEN_YEARS: i64 = 3653 * 24 * 3600;

static SPAN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:and\s+|,\s*)?(\d{1,6}|half an|a couple of|a few|[a-z]+)\s*(seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)(?:\s+|,|\b|$)").ok()
});
static CLOCK: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(?:at\s+)?(\d{1,2})(?:[:.](\d{2}))?(?::(\d{2}))?\s*(am|pm|a\.m\.|p\.m\.|o'clock)?$",
    )
    .ok()
});
static DATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:on\s+)?(\d{4})-(\d{1,2})-(\d{1,2})(?:[t\s]+|,\s*)?(.*)$").ok()
});
static EVERY_N: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^every\s+(\d{1,2}|[a-z]+)\s*(minutes?|mins?|m|hours?|hrs?|h)$").ok()
});

impl When {
    /// Understands a text at a moment in a zone.
    pub fn parse(text: &str, now: Timestamp, zone: Tz) -> Result<Self, WhenError> {
        let plain = text.trim().trim_end_matches('.').to_lowercase();
        let unclear = || WhenError::Unclear(text.trim().to_owned());
        if let Ok(at) = DateTime::parse_from_rfc3339(text.trim()) {
            return future(at.with_timezone(&Utc).into(), now, text);
        }
        if let Some(rest) = plain
            .strip_prefix("in ")
            .or_else(|| plain.strip_prefix("after "))
        {
            let seconds = span(rest).ok_or_else(unclear)?;
            return Self::after(seconds, now);
        }
        if let Some(cron) = repeated(&plain) {
            return Ok(Self::Every(cron));
        }
        if plain.split_whitespace().count() == 5 && Cron::from_str(&plain).is_ok() {
            return Ok(Self::Every(plain));
        }
        let today = now.utc().with_timezone(&zone);
        let local = moment(&plain, today).ok_or_else(unclear)?;
        future(local.with_timezone(&Utc).into(), now, text)
    }

    /// The first time that it fires after a moment.
    pub(super) fn first(&self, now: Timestamp, zone: Tz) -> Result<Timestamp, WhenError> {
        match self {
            Self::At(at) => Ok(*at),
            Self::Every(cron) => {
                next_slot(cron, zone.name(), now).ok_or_else(|| WhenError::Unclear(cron.clone()))
            }
        }
    }

    /// The cron expression of what repeats.
    pub(super) fn cron(&self) -> Option<&str> {
        match self {
            Self::At(_) => None,
            Self::Every(cron) => Some(cron),
        }
    }

    fn after(seconds: i64, now: Timestamp) -> Result<Self, WhenError> {
        if seconds > TEN_YEARS {
            return Err(WhenError::Far);
        }
        Ok(Self::At(Timestamp(now.0 + seconds.max(1) * 1_000_000)))
    }
}

fn future(at: Timestamp, now: Timestamp, text: &str) -> Result<When, WhenError> {
    if at <= now {
        return Err(WhenError::Past(text.trim().to_owned()));
    }
    if at.0 - now.0 > TEN_YEARS * 1_000_000 {
        return Err(WhenError::Far);
    }
    Ok(When::At(at))
}

/// A blank after each unit: "1h30m" as "1h 30m".
fn spaced(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() && out.ends_with(|before: char| before.is_ascii_alphabetic()) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// "1h30m", "2 hours and 5 minutes", "half an hour".
fn span(text: &str) -> Option<i64> {
    let pattern = SPAN.as_ref()?;
    let text = spaced(text.trim());
    let (mut rest, mut seconds) = (text.as_str(), 0_i64);
    while !rest.is_empty() {
        let found = pattern.captures(rest)?;
        let unit = match found.get(2)?.as_str().chars().next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => 7 * 86_400,
        };
        seconds += match found.get(1)?.as_str() {
            "half an" => unit / 2,
            number => count(number)?.checked_mul(unit)?,
        };
        rest = rest.get(found.get(0)?.end()..)?.trim_start();
    }
    (seconds > 0).then_some(seconds)
}

/// A number in digits or as a word.
fn count(text: &str) -> Option<i64> {
    const WORDS: [(&str, i64); 22] = [
        ("a", 1),
        ("an", 1),
        ("one", 1),
        ("two", 2),
        ("a couple of", 2),
        ("three", 3),
        ("a few", 3),
        ("four", 4),
        ("five", 5),
        ("six", 6),
        ("seven", 7),
        ("eight", 8),
        ("nine", 9),
        ("ten", 10),
        ("eleven", 11),
        ("twelve", 12),
        ("fifteen", 15),
        ("twenty", 20),
        ("thirty", 30),
        ("forty", 40),
        ("sixty", 60),
        ("ninety", 90),
    ];
    let word = WORDS
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, n)| *n);
    word.or_else(|| text.parse().ok())
}

/// "every day at 9", "every monday at 8:30", "every 15 minutes", "hourly" as a cron expression.
fn repeated(text: &str) -> Option<String> {
    match text {
        "hourly" | "every hour" => return Some("0 * * * *".to_owned()),
        "every minute" => return Some("* * * * *".to_owned()),
        "every morning" => return repeated("every day at 8"),
        "every evening" => return repeated("every day at 19"),
        "daily" => return repeated("every day at 9"),
        _ => {}
    }
    if let Some(found) = EVERY_N.as_ref()?.captures(text) {
        let n = count(found.get(1)?.as_str())?;
        let minutes = found.get(2)?.as_str().starts_with('m');
        return match (n, minutes) {
            (1..=59, true) => Some(format!("*/{n} * * * *")),
            (1..=23, false) => Some(format!("0 */{n} * * *")),
            _ => None,
        };
    }
    let rest = text
        .strip_prefix("every ")
        .or_else(|| text.starts_with("daily ").then_some(text))?;
    let (day, at) = rest
        .split_once(" at ")
        .or_else(|| rest.split_once(' '))
        .unwrap_or((rest, "9"));
    let days = match day.trim() {
        "day" | "daily" | "morning" | "evening" => "*".to_owned(),
        "weekday" | "workday" => "1-5".to_owned(),
        "weekend" => "0,6".to_owned(),
        name => weekday(name)?.num_days_from_sunday().to_string(),
    };
    let time = clock(at)?;
    Some(time.format("%-M %-H * * ").to_string() + &days)
}

/// Parts of a day, as the hour that is meant.
fn part_of_day(text: &str) -> Option<NaiveTime> {
    let hour = match text.trim() {
        "morning" => 9,
        "afternoon" => 15,
        "evening" => 19,
        "night" => 21,
        _ => return None,
    };
    NaiveTime::from_hms_opt(hour, 0, 0)
}

/// "at 9 tomorrow" as "tomorrow at 9".
fn turned(text: &str) -> Option<String> {
    let at = text.strip_prefix("at ")?;
    let (time, day) = at.split_once(' ')?;
    let (time, day) = match day.split_once(' ') {
        Some((half @ ("am" | "pm"), rest)) => (format!("{time}{half}"), rest),
        Some(("o'clock", rest)) => (time.to_owned(), rest),
        _ => (time.to_owned(), day),
    };
    clock(&time)?;
    Some(format!("{day} at {time}"))
}

/// A point in time: "18:30", "tomorrow at 9", "friday", "2027-01-31 at 12:00".
fn moment(text: &str, now: DateTime<Tz>) -> Option<DateTime<Tz>> {
    let zone = now.timezone();
    let local =
        |day: NaiveDate, time: NaiveTime| zone.from_local_datetime(&day.and_time(time)).earliest();
    let time_of = |text: &str| match text.trim() {
        "" => clock("9"),
        text => part_of_day(text).or_else(|| clock(text)),
    };
    if let Some(at) = text.strip_prefix("tonight") {
        let at = if at.is_empty() { "at 20:00" } else { at };
        return local(now.date_naive(), time_of(at)?);
    }
    if let Some(found) = DATE.as_ref()?.captures(text) {
        return local(date(&found)?, time_of(found.get(4)?.as_str())?);
    }
    if let Some(rest) = text.strip_prefix("tomorrow") {
        return local(
            now.date_naive().checked_add_days(Days::new(1))?,
            time_of(rest)?,
        );
    }
    if let Some(rest) = text.strip_prefix("today") {
        return local(now.date_naive(), time_of(rest)?);
    }
    if let Some(time) = clock(text) {
        let today = local(now.date_naive(), time)?;
        // A time of day that is over means tomorrow.
        return if today > now {
            Some(today)
        } else {
            local(now.date_naive().checked_add_days(Days::new(1))?, time)
        };
    }
    if let Some(turned) = turned(text) {
        return moment(&turned, now);
    }
    let prefixes = ["on ", "next ", "this "];
    let text = prefixes
        .iter()
        .find_map(|p| text.strip_prefix(p))
        .unwrap_or(text);
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let wanted = weekday(name)?;
    let time = time_of(rest)?;
    let ahead = (7 + wanted.num_days_from_monday() - now.weekday().num_days_from_monday()) % 7;
    let day = now.date_naive().checked_add_days(Days::new(ahead.into()))?;
    local(day, time)
        .filter(|at| *at > now)
        .or_else(|| local(day.checked_add_days(Days::new(7))?, time))
}

fn date(found: &Captures<'_>) -> Option<NaiveDate> {
    let part = |n: usize| found.get(n)?.as_str().parse::<u32>().ok();
    NaiveDate::from_ymd_opt(i32::try_from(part(1)?).ok()?, part(2)?, part(3)?)
}

/// "9", "at 18:30", "6pm", "noon".
fn clock(text: &str) -> Option<NaiveTime> {
    let text = text.trim();
    match text.strip_prefix("at ").unwrap_or(text) {
        "noon" => return NaiveTime::from_hms_opt(12, 0, 0),
        "midnight" => return NaiveTime::from_hms_opt(0, 0, 0),
        _ => {}
    }
    let found = CLOCK.as_ref()?.captures(text)?;
    let number = |n: usize| {
        found
            .get(n)
            .map_or(Some(0), |m| m.as_str().parse::<u32>().ok())
    };
    let (hour, minute, second) = (number(1)?, number(2)?, number(3)?);
    let hour = match found.get(4).and_then(|m| m.as_str().chars().next()) {
        Some('p') if (1..12).contains(&hour) => hour + 12,
        Some('a') if hour == 12 => 0,
        Some('a' | 'p') if !(1..=12).contains(&hour) => return None,
        _ => hour,
    };
    NaiveTime::from_hms_opt(hour, minute, second)
}

fn weekday(name: &str) -> Option<Weekday> {
    let name = name
        .strip_suffix('s')
        .filter(|n| n.ends_with("day"))
        .unwrap_or(name);
    // chrono knows three letters and whole names.
    let short = ["tues", "wednes", "thur", "thurs", "satur"];
    let name = if short.contains(&name) {
        name.get(..3)?
    } else {
        name
    };
    Weekday::from_str(name).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Saturday, 2026-11-21 14:00 in Berlin.
    fn now() -> Timestamp {
        Utc.with_ymd_and_hms(2026, 11, 21, 13, 0, 0).unwrap().into()
    }

    fn berlin(text: &str) -> Result<String, WhenError> {
        let zone = chrono_tz::Europe::Berlin;
        Ok(match When::parse(text, now(), zone)? {
            When::At(at) => at
                .utc()
                .with_timezone(&zone)
                .format("%m-%d %H:%M:%S")
                .to_string(),
            When::Every(cron) => cron,
        })
    }

    #[test]
    fn times_as_people_write_them() {
        for (text, meant) in [
            ("in 20 minutes", "11-21 14:20:00"),
            ("in 1 minute", "11-21 14:01:00"),
            ("in 1h30m", "11-21 15:30:00"),
            ("in 2 hours and 5 minutes", "11-21 16:05:00"),
            ("in half an hour", "11-21 14:30:00"),
            ("in an hour", "11-21 15:00:00"),
            ("In 3 days", "11-24 14:00:00"),
            ("at 18:30", "11-21 18:30:00"),
            ("18:30", "11-21 18:30:00"),
            ("at 6pm", "11-21 18:00:00"),
            ("at 9", "11-22 09:00:00"),
            ("tomorrow at 9", "11-22 09:00:00"),
            ("tomorrow 7:15", "11-22 07:15:00"),
            ("tomorrow", "11-22 09:00:00"),
            ("on monday at 8", "11-23 08:00:00"),
            ("saturday at 13:00", "11-28 13:00:00"),
            ("saturday at 15:00", "11-21 15:00:00"),
            ("2026-12-24 at 18:00", "12-24 18:00:00"),
            ("on 2026-12-24", "12-24 09:00:00"),
            ("2026-11-21T20:00:00Z", "11-21 21:00:00"),
            ("at noon", "11-22 12:00:00"),
            ("after two days", "11-23 14:00:00"),
            ("in a few minutes", "11-21 14:03:00"),
            ("in 2h 30m", "11-21 16:30:00"),
            ("tomorrow morning", "11-22 09:00:00"),
            ("at 9 tomorrow", "11-22 09:00:00"),
            ("at 6 pm tomorrow", "11-22 18:00:00"),
            ("at 18:30 on friday", "11-27 18:30:00"),
            ("tonight", "11-21 20:00:00"),
            ("next thurs at noon", "11-26 12:00:00"),
            ("every two hours", "0 */2 * * *"),
            ("daily at 7", "0 7 * * *"),
            ("every morning", "0 8 * * *"),
            ("every day at 7:30", "30 7 * * *"),
            ("every monday at 8", "0 8 * * 1"),
            ("every weekday at 9am", "0 9 * * 1-5"),
            ("every 15 minutes", "*/15 * * * *"),
            ("0 9 * * 1-5", "0 9 * * 1-5"),
        ] {
            assert_eq!(berlin(text).as_deref(), Ok(meant), "{text}");
        }
    }

    #[test]
    fn what_is_not_certain_is_not_guessed() {
        for text in [
            "",
            "soon",
            "in a bit",
            "in 5",
            "at 25:00",
            "13pm",
            "tomorrow-ish",
            "every blue moon",
            "in -5 minutes",
            "every 90 minutes",
        ] {
            assert!(matches!(berlin(text), Err(WhenError::Unclear(_))), "{text}");
        }
        assert!(matches!(
            berlin("2020-01-01 at 10:00"),
            Err(WhenError::Past(_))
        ));
        assert!(matches!(berlin("in 999999 weeks"), Err(WhenError::Far)));
    }

    #[test]
    fn a_fixed_time_fires_once_over_both_changes_of_the_clock() {
        let fires = |cron: &str, from: &str| -> Vec<String> {
            let mut at: Timestamp = DateTime::parse_from_rfc3339(from)
                .unwrap()
                .with_timezone(&Utc)
                .into();
            let mut all = Vec::new();
            for _ in 0..3 {
                at = next_slot(cron, "Europe/Berlin", at).unwrap();
                all.push(at.utc().format("%d %H:%M").to_string());
            }
            all
        };
        // 2026-10-25 03:00 becomes 02:00: 02:30 is there twice and fires once.
        let autumn = fires("30 2 * * *", "2026-10-24T12:00:00Z");
        assert_eq!(
            autumn.iter().filter(|t| t.starts_with("25")).count(),
            1,
            "{autumn:?}"
        );
        // 2027-03-28 02:00 becomes 03:00: 02:30 does not exist and fires all the same.
        let spring = fires("30 2 * * *", "2027-03-27T12:00:00Z");
        assert_eq!(
            spring.iter().filter(|t| t.starts_with("28")).count(),
            1,
            "{spring:?}"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(in |at |every |tomorrow |on )?[ -~]{0,30}") {
            drop(When::parse(&text, now(), chrono_tz::Europe::Berlin));
        }
    }
}
