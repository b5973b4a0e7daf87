//! Posts for Telegram: text with entities, counted in UTF-16 units as the Bot API counts.

use std::sync::Arc;

use super::{
    blank, change,
    document::{Marker, Span, Style, read},
    lines::{Kind as LineKind, Line, lay_out},
    split::{Cost, Scale, end_of, split},
};

/// Units of a message at most.
const MESSAGE: usize = 4096;
/// Units of what is said with a file at most.
const CAPTION: usize = 1024;
/// Entities of a message at most; Telegram ignores those after.
const ENTITIES: usize = 100;
/// Units of a draft's status at most.
const STATUS: usize = 300;
const RULE: &str = "──────────";

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// What it says; never blank.
    pub text: String,
    /// How it looks, outer ones first. Two that meet nest; code has nothing in it.
    pub entities: Vec<Entity>,
}

/// A place in a text that looks different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// How.
    pub kind: Kind,
    /// Where it begins, in UTF-16 units.
    pub offset: usize,
    /// How long it is, in UTF-16 units; at least one.
    pub length: usize,
}

/// The looks that we give. They are the Bot API's `MessageEntity` types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `bold`
    Bold,
    /// `italic`
    Italic,
    /// `underline`
    Underline,
    /// `strikethrough`
    Strikethrough,
    /// `spoiler`
    Spoiler,
    /// `code`
    Code,
    /// `pre`
    Pre {
        /// Of a programming language, if it is known.
        language: Option<String>,
    },
    /// `text_link`
    Link {
        /// An absolute address.
        url: String,
    },
    /// `blockquote`
    Blockquote,
}

/// An answer as messages; none if there is nothing to see.
pub fn posts(markdown: &str) -> Vec<Post> {
    let lines = lay_out(read(markdown));
    split(lines, &Units { size: MESSAGE })
        .iter()
        .map(|lines| write(lines))
        .filter(|post| !blank(&post.text))
        .collect()
}

/// An answer as what is said with a file; none if it says nothing or too much for that.
pub fn caption(markdown: &str) -> Option<Post> {
    let lines = lay_out(read(markdown));
    match split(lines, &Units { size: CAPTION }).as_slice() {
        [only] => Some(write(only)).filter(|post| !blank(&post.text)),
        _ => None,
    }
}

/// The same messages as [`posts`] without entities, for when Telegram refuses those. Addresses are
/// said behind their links as far as there is room.
pub fn plain(markdown: &str) -> Vec<String> {
    posts(markdown).into_iter().map(Post::into_plain).collect()
}

/// An answer that is being written: its end as far as it fits, and what happens now.
pub fn draft(markdown: &str, status: &str) -> Post {
    let lines = lay_out(read(markdown));
    let scale = Units { size: MESSAGE };
    let closing = super::closing(status, STATUS, !lines.is_empty());
    let post = write(&end_of(lines, closing, &scale));
    if blank(&post.text) {
        return Post {
            text: "…".to_owned(),
            entities: Vec::new(),
        };
    }
    post
}

impl Post {
    /// Its text with the addresses of its links, if that fits into one message.
    pub fn into_plain(self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut room = MESSAGE.saturating_sub(units(&self.text));
        let mut links: Vec<(usize, &str)> = self
            .entities
            .iter()
            .filter_map(|e| match &e.kind {
                Kind::Link { url } => Some((e.offset + e.length, url.as_str())),
                _ => None,
            })
            .collect();
        links.sort_unstable();
        let mut links = links.into_iter().peekable();
        let mut at = 0;
        let mut from = 0;
        for (byte, c) in self.text.char_indices().chain([(self.text.len(), ' ')]) {
            while let Some((_, url)) = links.next_if(|(end, _)| *end == at) {
                out.push_str(self.text.get(from..byte).unwrap_or_default());
                from = byte;
                let said = format!(" ({url})");
                let size = units(&said);
                if size <= room && !out.ends_with(url.trim_end_matches('/')) {
                    out.push_str(&said);
                    room -= size;
                }
            }
            at += c.len_utf16();
        }
        out.push_str(self.text.get(from..).unwrap_or_default());
        out
    }
}

fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// How Telegram counts.
struct Units {
    size: usize,
}

impl Scale for Units {
    fn limit(&self) -> Cost {
        Cost {
            size: self.size,
            entities: ENTITIES,
        }
    }

    fn line(&self, line: &Line, above: Option<&Line>) -> Cost {
        let quoted = line.place.quotes > 0;
        let opens_quote = quoted && above.is_none_or(|a| a.place.quotes == 0);
        let opens_code = line.is_code() && !line.continues(above);
        let rule = if line.kind == LineKind::Rule {
            RULE
        } else {
            ""
        };
        Cost {
            size: 1 + usize::from(line.gap) + units(&prefix(line)) + units(rule),
            entities: usize::from(opens_quote) + usize::from(opens_code),
        }
    }

    fn span(&self, line: &Line, span: &Span) -> Cost {
        let link = usize::from(span.link.is_some());
        Cost {
            size: 0,
            entities: if line.is_code() {
                0
            } else {
                looks(line, span).count() + link
            },
        }
    }

    fn char(&self, _line: &Line, _span: &Span, c: char) -> usize {
        c.len_utf16()
    }
}

/// The styles that a span gets: code nests with nothing, and within a link it is not code.
fn looks(line: &Line, span: &Span) -> Style {
    let style = match line.kind {
        LineKind::Heading(_) => span.style.with(Style::BOLD),
        _ => span.style,
    };
    match (style.has(Style::CODE), &span.link) {
        (true, None) => Style::CODE,
        _ => style.without(Style::CODE),
    }
}

/// What stands before the text of a line.
fn prefix(line: &Line) -> String {
    if line.is_code() {
        return String::new();
    }
    let place = &line.place;
    // Quotes do not nest, and spaces are narrow.
    let mut out = "> ".repeat(place.quotes.saturating_sub(1).min(4));
    out.push_str(&" ".repeat(place.indent * 2));
    match place.marker {
        Some(Marker::Bullet) => out.push_str("• "),
        Some(Marker::Number(n)) => out.push_str(&format!("{n}. ")),
        Some(Marker::Task(true)) => out.push_str("☑ "),
        Some(Marker::Task(false)) => out.push_str("☐ "),
        None => {}
    }
    out
}

fn write(lines: &[Line]) -> Post {
    let mut writer = Writer::default();
    let mut above = None;
    for line in lines {
        writer.line(line, above);
        above = Some(line);
    }
    writer.end_pre();
    writer.end_quote();
    writer.text.truncate(writer.text.trim_end().len());
    Post {
        text: writer.text,
        entities: writer.entities.into_iter().flatten().collect(),
    }
}

/// An entity that is not ended yet.
struct Open {
    kind: Kind,
    /// Where it begins in the text, in bytes and in units.
    byte: usize,
    unit: usize,
    /// Its place among the entities.
    slot: usize,
}

#[derive(Default)]
struct Writer {
    text: String,
    /// Of the text, in units.
    length: usize,
    /// In the order in which they were opened; none while they are open, or if nothing is in them.
    entities: Vec<Option<Entity>>,
    pre: Option<Open>,
    quote: Option<Open>,
}

impl Writer {
    fn line(&mut self, line: &Line, above: Option<&Line>) {
        if !line.continues(above) {
            self.end_pre();
        }
        if line.place.quotes == 0 {
            self.end_quote();
        }
        if self.text.is_empty() && line.spans.iter().all(|s| blank(&s.text)) && line.is_code() {
            return;
        }
        if !self.text.is_empty() {
            self.push(if line.gap { "\n\n" } else { "\n" });
        }
        if line.place.quotes > 0 && self.quote.is_none() {
            self.quote = Some(self.open(Kind::Blockquote));
        }
        match &line.kind {
            LineKind::Code(language) => {
                if self.pre.is_none() {
                    let language = (!language.is_empty()).then(|| language.to_string());
                    self.pre = Some(self.open(Kind::Pre { language }));
                }
                for span in &line.spans {
                    self.push(&span.text);
                }
            }
            LineKind::Rule => self.push(RULE),
            LineKind::Text | LineKind::Heading(_) => {
                let prefix = prefix(line);
                let at_start = self.text.is_empty();
                self.push(if at_start {
                    prefix.trim_start()
                } else {
                    &prefix
                });
                self.spans(line);
            }
        }
    }

    fn spans(&mut self, line: &Line) {
        let mut styles = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        let mut link: Option<(Arc<str>, Open)> = None;
        for span in &line.spans {
            if link.as_ref().map(|(url, _)| url) != span.link.as_ref() {
                change(&mut styles, Style::default());
                self.close_all(open.drain(..).rev());
                self.close_all(link.take().map(|(_, open)| open));
                link = span.link.clone().map(|url| {
                    let kind = Kind::Link {
                        url: url.to_string(),
                    };
                    (url, self.open(kind))
                });
            }
            let (closed, opened) = change(&mut styles, looks(line, span));
            let keep = open.len().saturating_sub(closed.len());
            self.close_all(open.drain(keep..).rev());
            for style in opened {
                open.push(self.open(kind(style)));
            }
            self.push(&span.text);
        }
        self.close_all(open.into_iter().rev());
        self.close_all(link.map(|(_, open)| open));
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.length += units(text);
    }

    fn open(&mut self, kind: Kind) -> Open {
        self.entities.push(None);
        Open {
            kind,
            byte: self.text.len(),
            unit: self.length,
            slot: self.entities.len() - 1,
        }
    }

    fn close_all(&mut self, open: impl IntoIterator<Item = Open>) {
        for open in open {
            self.close(open);
        }
    }

    /// Ends an entity; space at its ends is not part of it, but that before the first line of code is.
    fn close(&mut self, open: Open) {
        let text = self.text.get(open.byte..).unwrap_or_default().trim_end();
        let inner = match open.kind {
            Kind::Pre { .. } => text,
            _ => text.trim_start(),
        };
        let offset = open.unit + units(text) - units(inner);
        let length = units(inner);
        if let (Some(slot), true) = (self.entities.get_mut(open.slot), length > 0) {
            *slot = Some(Entity {
                kind: open.kind,
                offset,
                length,
            });
        }
    }

    fn end_pre(&mut self) {
        let open = self.pre.take();
        self.close_all(open);
    }

    fn end_quote(&mut self) {
        if let Some(open) = self.quote.take() {
            self.end_pre();
            self.close(open);
        }
    }
}

fn kind(style: Style) -> Kind {
    match style {
        Style::UNDERLINE => Kind::Underline,
        Style::STRIKE => Kind::Strikethrough,
        Style::SPOILER => Kind::Spoiler,
        Style::ITALIC => Kind::Italic,
        Style::CODE => Kind::Code,
        _ => Kind::Bold,
    }
}
