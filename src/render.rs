//! Rendering: an answer's Markdown becomes posts in a platform's own form.
//!
//! [`document`] reads Markdown into blocks and spans, [`lines`] lays them out, [`split`] cuts the lines
//! into posts under a platform's limit, and one file per platform writes a post in its form.

pub mod discord;
mod document;
mod lines;
mod split;
pub mod telegram;

#[cfg(test)]
mod tests;

use crate::types::text::shorten;
use document::{Span, Style, shows};
use lines::Line;

/// What changes between two spans: styles to close, innermost first, and styles to open, outermost
/// first, so that open ones always nest. `open` is what is open, outermost first.
fn change(open: &mut Vec<Style>, wanted: Style) -> (Vec<Style>, Vec<Style>) {
    let keep = open
        .iter()
        .position(|s| !wanted.has(*s))
        .unwrap_or(open.len());
    let mut closed = open.split_off(keep);
    closed.reverse();
    let opened: Vec<Style> = Style::ALL
        .into_iter()
        .filter(|s| wanted.has(*s) && !open.contains(s))
        .collect();
    open.extend(&opened);
    (closed, opened)
}

/// What happens now, as the last line of a draft; none if that is not said. The line is one look: names
/// in it are not told apart.
fn closing(status: &str, limit: usize, gap: bool) -> Option<Line> {
    let status: String = status.chars().filter(|c| shows(*c) && *c != '`').collect();
    let status = status.split_whitespace().collect::<Vec<_>>().join(" ");
    let span = Span {
        text: shorten(&status, limit),
        style: Style::ITALIC,
        link: None,
    };
    (!blank(&span.text)).then(|| Line::note(span, gap))
}

/// Whether nothing of a text can be seen. Platforms refuse such posts.
fn blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
                | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
    })
}
