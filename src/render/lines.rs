//! A document laid out as lines: what is cut into posts, and what a platform writes.

use std::{collections::VecDeque, sync::Arc};

use unicode_segmentation::UnicodeSegmentation as _;

use super::document::{Block, Content, Document, Place, Span, Style, Table};

/// A cell that is wider does not make its column wider.
const WIDEST_CELL: usize = 40;

/// A line of an answer.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The block it is of; lines of one block of code stand in one fence.
    pub(super) block: usize,
    pub(super) place: Place,
    /// A blank line stands above it, if it is not the first of a post.
    pub(super) gap: bool,
    pub(super) kind: Kind,
    /// Without line breaks. Space at an end of a style belongs to no style.
    pub(super) spans: VecDeque<Span>,
    /// How good a post can begin with it.
    pub(super) joint: Joint,
}

/// What kind of line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Of a heading, 1 to 6.
    Heading(u8),
    /// Of a block of code, in a language or none.
    Code(Arc<str>),
    Rule,
}

/// How good a post can begin with a line, the better the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Joint {
    /// It belongs to the heading above.
    Below,
    /// It is a line of what stands above.
    Line,
    Item,
    Block,
    Section,
}

impl Joint {
    /// The best first.
    pub(super) const ALL: [Self; 5] = [
        Self::Section,
        Self::Block,
        Self::Item,
        Self::Line,
        Self::Below,
    ];
}

impl Line {
    /// A line of text on its own.
    pub(super) fn note(span: Span, gap: bool) -> Self {
        Self {
            block: usize::MAX,
            place: Place::default(),
            gap,
            kind: Kind::Text,
            spans: [span].into(),
            joint: Joint::Block,
        }
    }

    pub(super) fn is_code(&self) -> bool {
        matches!(self.kind, Kind::Code(_))
    }

    /// Whether it stands in one fence with the line above.
    pub(super) fn continues(&self, above: Option<&Self>) -> bool {
        self.is_code() && above.is_some_and(|above| above.block == self.block)
    }
}

/// Lays a document out.
pub(super) fn lay_out(document: Document) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (number, block) in document.blocks.into_iter().enumerate() {
        let first = lines.len();
        let (place, gap) = (block.place.clone(), block.gap);
        let joint = match lines.last() {
            Some(Line {
                kind: Kind::Heading(_),
                ..
            }) => Joint::Below,
            _ => joint(&block),
        };
        add(&mut lines, number, block);
        for (at, line) in lines.iter_mut().enumerate().skip(first) {
            line.place = place.clone();
            if at == first {
                line.gap = gap;
                line.joint = joint;
            } else if let Some(marker) = line.place.marker.take() {
                line.place.indent += marker.width();
            }
        }
    }
    lines
}

fn joint(block: &Block) -> Joint {
    match block.content {
        Content::Text { level, .. } if level > 0 => Joint::Section,
        _ if block.place.marker.is_some() => Joint::Item,
        _ => Joint::Block,
    }
}

/// Adds the lines of a block; the caller sets where they stand.
fn add(lines: &mut Vec<Line>, block: usize, of: Block) {
    let mut push = |kind: Kind, spans: Vec<Span>| {
        lines.push(Line {
            block,
            place: Place::default(),
            gap: false,
            kind,
            spans: spans.into(),
            joint: Joint::Line,
        });
    };
    match of.content {
        Content::Text { level, spans } => {
            for spans in broken(spans) {
                let kind = match level {
                    0 => Kind::Text,
                    level => Kind::Heading(level),
                };
                push(kind, spans);
            }
        }
        Content::Code { language, text } => {
            for line in text.split('\n') {
                push(Kind::Code(language.clone()), vec![Span::plain(line)]);
            }
        }
        Content::Table(table) => {
            for row in drawn(&table) {
                push(Kind::Code("".into()), vec![Span::plain(row)]);
            }
        }
        Content::Rule => push(Kind::Rule, Vec::new()),
    }
}

/// Text as lines: blank ones are left out, unless there is no other (the marker of an empty item).
fn broken(spans: Vec<Span>) -> Vec<Vec<Span>> {
    let mut lines = vec![Vec::new()];
    for span in spans {
        for (at, text) in span.text.split('\n').enumerate() {
            if at > 0 {
                lines.push(Vec::new());
            }
            if let (Some(line), false) = (lines.last_mut(), text.is_empty()) {
                line.push(Span {
                    text: text.to_owned(),
                    style: span.style,
                    link: span.link.clone(),
                });
            }
        }
    }
    let mut lines: Vec<Vec<Span>> = lines.into_iter().map(smooth).collect();
    if lines.iter().any(|l| !l.is_empty()) {
        lines.retain(|l| !l.is_empty());
    } else {
        lines.truncate(1);
    }
    lines
}

/// A line of text without space at its ends; space within carries only the looks of both its sides, so
/// that no style begins or ends with space.
fn smooth(spans: Vec<Span>) -> Vec<Span> {
    let mut pieces: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        if span.is_code() {
            pieces.push(span);
            continue;
        }
        let inner = span.text.trim();
        let lead = span.text.len() - span.text.trim_start().len();
        let (head, rest) = span.text.split_at(lead);
        let (inner, tail) = rest.split_at(inner.len());
        for text in [head, inner, tail] {
            if !text.is_empty() {
                pieces.push(Span {
                    text: text.to_owned(),
                    style: span.style,
                    link: span.link.clone(),
                });
            }
        }
    }
    let is_space = |s: &Span| !s.is_code() && s.text.trim().is_empty();
    let start = pieces.iter().position(|s| !is_space(s));
    let end = pieces.iter().rposition(|s| !is_space(s));
    let (Some(start), Some(end)) = (start, end) else {
        return Vec::new();
    };
    pieces.truncate(end + 1);
    pieces.drain(..start);
    share_spaces(&mut pieces, is_space);
    merged(pieces)
}

/// Gives each run of space what both its sides have.
fn share_spaces(pieces: &mut [Span], is_space: impl Fn(&Span) -> bool) {
    let looks: Vec<(bool, Style, Option<Arc<str>>)> = pieces
        .iter()
        .map(|s| (is_space(s), s.style, s.link.clone()))
        .collect();
    let mut before = (Style::default(), None);
    let mut next = 0;
    for (at, piece) in pieces.iter_mut().enumerate() {
        if !is_space(piece) {
            before = (piece.style, piece.link.clone());
            continue;
        }
        if next <= at {
            next = at + looks.iter().skip(at).take_while(|look| look.0).count();
        }
        let Some((_, style, link)) = looks.get(next) else {
            continue;
        };
        if before.1 == *link {
            piece.style = before.0.shared(*style).without(Style::CODE);
            piece.link = link.clone();
        } else {
            piece.style = Style::default();
            piece.link = None;
        }
    }
}

fn merged(pieces: Vec<Span>) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match out.last_mut() {
            Some(last) if last.style == piece.style && last.link == piece.link => {
                last.text.push_str(&piece.text);
            }
            _ => out.push(piece),
        }
    }
    out
}

/// A table as lines of equal columns.
fn drawn(table: &Table) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in &table.rows {
        for (at, cell) in row.iter().enumerate() {
            let width = columns(cell).min(WIDEST_CELL);
            match widths.get_mut(at) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut lines = Vec::with_capacity(table.rows.len() + 1);
    for (number, row) in table.rows.iter().enumerate() {
        let head = number == 0;
        if head && row.iter().all(String::is_empty) {
            continue;
        }
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            if at > 0 {
                line.push_str(" | ");
            }
            let width = widths.get(at).copied().unwrap_or_default();
            let space = " ".repeat(width.saturating_sub(columns(cell)));
            if table.right.get(at) == Some(&true) {
                line.push_str(&space);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&space);
            }
        }
        lines.push(line.trim_end().to_owned());
        if head {
            let rules: Vec<String> = widths.iter().map(|w| "-".repeat((*w).max(1))).collect();
            lines.push(rules.join("-|-"));
        }
    }
    lines
}

/// Columns that a text takes in a font of equal widths.
fn columns(text: &str) -> usize {
    let wide = |c: char| {
        matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
            | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}')
    };
    text.graphemes(true)
        .map(|g| 1 + usize::from(g.starts_with(wide)))
        .sum()
}
