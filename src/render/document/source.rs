//! What is asked of Markdown's source and of the words in it, apart from its structure.

use std::sync::Arc;

use url::Url;

use super::shows;

/// Deeper than people write; the parser needs long for lines that open more containers.
const DEEPEST: usize = 16;
/// A longer address is text: it may have to be cut.
const LONGEST_LINK: usize = 512;

/// Every line break as `\n`, without what does not show.
pub(super) fn tidy(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut chars = markdown.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            c if shows(c) => out.push(c),
            _ => {}
        }
    }
    out
}

/// Whether a line opens more quotes and lists than anybody would nest.
pub(super) fn too_deep(source: &str) -> bool {
    source.lines().any(|line| {
        let text = line.trim_start_matches(|c: char| " \t>-+*.)".contains(c) || c.is_ascii_digit());
        let lead = line.get(..line.len() - text.len()).unwrap_or_default();
        if text.is_empty() && is_rule(lead) {
            return false;
        }
        let opened = |word: &str| {
            let item = word.trim_matches('>');
            let number = item.trim_end_matches(['.', ')']);
            let numbered = number.len() + 1 == item.len();
            let is_item = matches!(item, "-" | "+" | "*") || numbered;
            word.matches('>').count() + usize::from(is_item)
        };
        lead.split_whitespace().map(opened).sum::<usize>() > DEEPEST
    })
}

/// Whether it is a rule written with spaces, such as `- - -`.
fn is_rule(lead: &str) -> bool {
    let mut marks = lead.chars().filter(|c| !c.is_whitespace());
    let first = marks.next();
    matches!(first, Some('-' | '*')) && marks.all(|c| Some(c) == first)
}

/// The address as it is linked, or none if it is not one to link.
pub(super) fn address(url: &str) -> Option<Arc<str>> {
    let url = Url::parse(url.trim()).ok()?;
    let linked = matches!(url.scheme(), "http" | "https" | "tg");
    (linked && url.as_str().len() <= LONGEST_LINK).then(|| url.as_str().into())
}

/// Whether the line above a place in the source is blank.
pub(super) fn gap_above(source: &str, at: usize) -> bool {
    let before = source.get(..at).unwrap_or_default();
    let Some(end) = before.rfind('\n') else {
        return false;
    };
    let above = before.get(..end).unwrap_or_default();
    above.trim_end_matches([' ', '\t', '>']).ends_with('\n')
}

/// Whether a label says the address.
pub(super) fn said(url: &str, label: &str) -> bool {
    let bare = |text: &str| {
        let text = text.trim().trim_end_matches('/');
        text.strip_prefix("mailto:").unwrap_or(text).to_owned()
    };
    bare(url) == bare(label)
}

/// The language of a fence, if its first word can be one.
pub(super) fn language(info: &str) -> Arc<str> {
    let word = info.split_whitespace().next().unwrap_or_default();
    let known = |c: char| c.is_ascii_alphanumeric() || "+#_.-".contains(c);
    if word.len() <= 32 && word.chars().all(known) {
        word.into()
    } else {
        "".into()
    }
}
