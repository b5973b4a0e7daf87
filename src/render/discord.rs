//! Posts for Discord, in the Markdown that it understands, counted in Unicode scalar values.

use super::{
    blank, change,
    document::{Marker, Span, Style, read},
    lines::{Kind, Line, lay_out},
    split::{Cost, Scale, end_of, split},
};

/// Characters of a message; Discord takes 2000.
const MESSAGE: usize = 1960;
/// Characters of a draft's status at most.
const STATUS: usize = 300;
const RULE: &str = "──────────";
/// Shows nothing, and parts what would be understood together.
const NOTHING: char = '\u{200b}';

/// An answer as messages; none if there is nothing to see.
pub fn posts(markdown: &str) -> Vec<String> {
    split(lay_out(read(markdown)), &Characters)
        .iter()
        .map(|lines| write(lines))
        .filter(|post| !blank(post))
        .collect()
}

/// An answer that is being written: its end as far as it fits, and what happens now.
pub fn draft(markdown: &str, status: &str) -> String {
    let lines = lay_out(read(markdown));
    let closing = super::closing(status, STATUS, !lines.is_empty());
    let post = write(&end_of(lines, closing, &Characters));
    if blank(&post) { "…".to_owned() } else { post }
}

/// What calls everybody.
const CALLS: &[&str] = &["@everyone", "@here"];

/// What an address does not end with.
const ENDS: &[char] = &['.', ',', ':', ';', '"', '\'', ')', ']'];

/// How Discord counts.
struct Characters;

impl Scale for Characters {
    fn limit(&self) -> Cost {
        Cost {
            size: MESSAGE,
            entities: usize::MAX,
        }
    }

    fn line(&self, line: &Line, above: Option<&Line>) -> Cost {
        let quote = if line.place.quotes > 0 { 2 } else { 0 };
        let kind = match &line.kind {
            Kind::Code(_) if line.continues(above) => 0,
            Kind::Code(language) => "```\n\n```".len() + language.len() + 2 * quote,
            Kind::Rule => RULE.chars().count(),
            // The marks of a heading, and what a first character needs so as not to be a mark.
            Kind::Heading(_) | Kind::Text => 8,
        };
        let breaks = if line.gap { 2 + quote } else { 1 };
        Cost {
            size: breaks + prefix(line).chars().count() + kind,
            entities: 0,
        }
    }

    fn span(&self, line: &Line, span: &Span) -> Cost {
        let link = span.link.as_ref().map_or(0, |url| target(url).len() + 8);
        let marks = span.style.count() * 4 + usize::from(matches!(line.kind, Kind::Heading(_))) * 4;
        let code = if span.is_code() { 8 } else { 0 };
        Cost {
            size: if line.is_code() {
                0
            } else {
                link + marks + code + 2
            },
            entities: 0,
        }
    }

    fn char(&self, _line: &Line, _span: &Span, c: char) -> usize {
        match c {
            '\\' | '*' | '_' | '`' | '~' | '|' | '[' | '<' | '@' => 2,
            // Of an address, which may get `<` and `>`.
            ':' => 3,
            _ => 1,
        }
    }
}

/// What stands before the text of a line.
fn prefix(line: &Line) -> String {
    let place = &line.place;
    let mut out = String::new();
    if place.quotes > 0 {
        out.push_str("> ");
    }
    if line.is_code() {
        return out;
    }
    // Quotes do not nest.
    out.push_str(&"\\> ".repeat(place.quotes.saturating_sub(1).min(4)));
    out.push_str(&" ".repeat(place.indent));
    match place.marker {
        Some(Marker::Bullet) => out.push_str("- "),
        Some(Marker::Number(n)) => out.push_str(&format!("{n}. ")),
        Some(Marker::Task(true)) => out.push_str("- ☑ "),
        Some(Marker::Task(false)) => out.push_str("- ☐ "),
        None => {}
    }
    match line.kind {
        Kind::Heading(level @ 1..=3) => {
            out.push_str(&"#".repeat(level.into()));
            out.push(' ');
        }
        _ => {}
    }
    out
}

fn write(lines: &[Line]) -> String {
    let mut out = String::new();
    let mut above: Option<&Line> = None;
    for line in lines {
        if let Some(before) = above {
            if !line.continues(above) {
                end_fence(&mut out, before);
            }
            out.push('\n');
            if line.gap {
                let quoted = before.place.quotes > 0 && line.place.quotes > 0;
                out.push_str(if quoted { "> \n" } else { "\n" });
            }
        }
        let prefix = prefix(line);
        match &line.kind {
            Kind::Code(language) => {
                if !line.continues(above) {
                    out.push_str(&format!("{prefix}```{language}\n"));
                }
                out.push_str(&prefix);
                for span in &line.spans {
                    fenced(&mut out, &span.text);
                }
            }
            Kind::Rule => out.push_str(&format!("{prefix}{RULE}")),
            Kind::Text | Kind::Heading(_) => {
                out.push_str(&prefix);
                let start = out.len();
                spans(&mut out, line);
                if let Some(at) = out.get(start..).and_then(leads) {
                    out.insert(start + at, '\\');
                }
            }
        }
        above = Some(line);
    }
    if let Some(last) = above {
        end_fence(&mut out, last);
    }
    out
}

fn end_fence(out: &mut String, last: &Line) {
    if last.is_code() {
        out.push_str(&format!("\n{}```", prefix(last)));
    }
}

/// Code in a fence, which three backticks would end.
fn fenced(out: &mut String, code: &str) {
    let mut ticks = 0;
    for c in code.chars() {
        ticks = if c == '`' { ticks + 1 } else { 0 };
        if ticks > 1 {
            out.push(NOTHING);
        }
        out.push(c);
    }
}

/// The text of a line.
fn spans(out: &mut String, line: &Line) {
    let bold = matches!(line.kind, Kind::Heading(4..));
    let all: Vec<&Span> = line.spans.iter().collect();
    for group in all.chunk_by(|a, b| a.link == b.link) {
        let link = group.first().and_then(|s| s.link.as_ref());
        let label: String = group.iter().map(|s| s.text.as_str()).collect();
        match link {
            // Discord does not hide an address behind another one.
            Some(url) if label.contains("://") => {
                let same = url::Url::parse(&label).is_ok_and(|u| u.as_str() == &**url);
                if same && address(&label) == Some(label.len()) {
                    out.push_str(&format!("<{label}>"));
                } else {
                    styled(out, group, bold);
                    out.push_str(&format!(" <{}>", target(url)));
                }
            }
            Some(url) => {
                out.push('[');
                styled(out, group, bold);
                out.push_str(&format!("]({})", target(url)));
            }
            None => styled(out, group, bold),
        }
    }
}

/// An address as a link can have it.
fn target(url: &str) -> String {
    url.replace('(', "%28").replace(')', "%29")
}

/// Spans with the marks of their styles.
fn styled(out: &mut String, spans: &[&Span], bold: bool) {
    let also = if bold { Style::BOLD } else { Style::default() };
    let mut open = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        let wanted = span.style.with(also).without(Style::CODE);
        let (closed, opened) = change(&mut open, wanted);
        for style in &closed {
            out.push_str(mark(*style));
        }
        // Marks that end and marks that begin are not to be read as one.
        if !opened.is_empty() && out.ends_with(['*', '_', '~', '|']) {
            out.push(NOTHING);
        }
        for style in &opened {
            out.push_str(mark(*style));
        }
        if span.is_code() {
            code(out, &span.text);
        } else {
            escape(out, &span.text, at + 1 == spans.len());
        }
    }
    for style in open.iter().rev() {
        out.push_str(mark(*style));
    }
}

fn mark(style: Style) -> &'static str {
    match style {
        Style::UNDERLINE => "__",
        Style::STRIKE => "~~",
        Style::SPOILER => "||",
        Style::ITALIC => "*",
        _ => "**",
    }
}

/// Code within a line.
fn code(out: &mut String, text: &str) {
    if !text.contains('`') {
        out.push_str(&format!("`{text}`"));
        return;
    }
    let pad = |at_end: bool| if at_end { " " } else { "" };
    out.push_str("``");
    out.push_str(pad(text.starts_with('`')));
    fenced(out, text);
    out.push_str(pad(text.ends_with('`')));
    out.push_str("``");
}

/// Text that is to be read as it stands: no mark in it counts, and nobody is called by it. `last`: nothing
/// follows it directly.
fn escape(out: &mut String, text: &str, last: bool) {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = address(rest) {
            // Marks within an address are not read as marks, but escapes would be read as address.
            let (url, after) = rest.split_at(length);
            let ended = after.trim_start_matches(ENDS).chars().next();
            if ended.map_or(last, char::is_whitespace) {
                out.push_str(url);
            } else {
                out.push_str(&format!("<{url}>"));
            }
            rest = after;
            continue;
        }
        // Escaped, a mention would not be shown as one, but still call people.
        let calls = match c {
            '<' => rest.starts_with("<@"),
            '@' => CALLS.iter().any(|name| rest.starts_with(name)),
            _ => false,
        };
        if matches!(c, '\\' | '*' | '_' | '`' | '~' | '|' | '[') || (c == '<' && !calls) {
            out.push('\\');
        }
        out.push(c);
        if calls {
            out.push(NOTHING);
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
}

/// How long the web address is that a text begins with, if it does.
fn address(text: &str) -> Option<usize> {
    if !(text.starts_with("https://") || text.starts_with("http://")) {
        return None;
    }
    let inside = |c: char| c.is_alphanumeric() || "-._:/?#]@!$&'()+,;=%".contains(c);
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    let url = text.get(..end).unwrap_or_default();
    // Wherever it stands, it calls.
    let call = CALLS.iter().filter_map(|name| url.find(name)).min();
    let url = url.get(..call.unwrap_or(end)).unwrap_or_default();
    Some(url.trim_end_matches(ENDS).len())
}

/// Whether a line that begins so would be read as a heading, a list or a quote: how many bytes stand
/// before the character to escape.
fn leads(text: &str) -> Option<usize> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.len() - rest.len();
    if digits > 0 {
        return rest.starts_with('.').then_some(digits);
    }
    text.starts_with(['#', '>', '-', '+']).then_some(0)
}
