//! Markdown (CommonMark with tables, strikethrough and task lists) becomes a [`Document`].

use std::{ops::Range, sync::Arc};

use super::{
    Block, Content, Document, Marker, Place, Span, Style, Table, shows,
    source::{address, gap_above, language, said, tidy, too_deep},
};
use pulldown_cmark::{Alignment, CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Columns that list items take at most.
const INDENT: usize = 24;

/// Reads an answer. Nothing of its visible text is left out, whatever it is.
pub(in crate::render) fn read(markdown: &str) -> Document {
    let source = tidy(markdown);
    let mut reader = Reader::new(&source);
    if too_deep(&source) {
        reader.push(&source);
        reader.flush();
    } else {
        let options =
            Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
        for (event, range) in Parser::new_ext(&source, options).into_offset_iter() {
            reader.take(event, &range);
        }
        reader.flush();
    }
    Document {
        blocks: reader.blocks,
    }
}

/// A link or picture that is being read.
struct Link {
    url: String,
    link: Option<Arc<str>>,
    label: String,
}

/// Code that is being read.
struct Code {
    gap: bool,
    language: Arc<str>,
    text: String,
}

struct Reader<'a> {
    source: &'a str,
    blocks: Vec<Block>,
    /// Text of the block that is being read, its level, and whether a gap is above it.
    spans: Vec<Span>,
    level: u8,
    gap: Option<bool>,
    /// How often each style is open, in the order of [`Style::ALL`].
    styles: [usize; Style::ALL.len()],
    links: Vec<Link>,
    /// The next number of each open list, none for bullets.
    lists: Vec<Option<u64>>,
    /// Columns of each open item.
    widths: Vec<usize>,
    /// The marker of an item of which nothing was written, and whether a gap is above it.
    marker: Option<(Marker, bool)>,
    quotes: usize,
    code: Option<Code>,
    table: Option<Table>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a str) -> Self {
        Self {
            source,
            blocks: Vec::new(),
            spans: Vec::new(),
            level: 0,
            gap: None,
            styles: [0; Style::ALL.len()],
            links: Vec::new(),
            lists: Vec::new(),
            widths: Vec::new(),
            marker: None,
            quotes: 0,
            code: None,
            table: None,
        }
    }

    fn take(&mut self, event: Event<'_>, range: &Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::FootnoteReference(text) => self.text(&text, range),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.begin(range);
                self.styled(Style::CODE, &text);
            }
            Event::Html(text) | Event::InlineHtml(text) => self.html(&text, range),
            Event::SoftBreak | Event::HardBreak => self.push("\n"),
            Event::Rule => {
                self.flush();
                let gap = gap_above(self.source, range.start);
                self.add(gap, Content::Rule);
            }
            Event::TaskListMarker(done) => {
                if let (Some((marker, _)), Some(width)) = (&mut self.marker, self.widths.last_mut())
                {
                    *marker = Marker::Task(done);
                    *width = marker.width();
                }
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>, range: &Range<usize>) {
        match tag {
            Tag::Emphasis => self.open(Style::ITALIC),
            Tag::Strong => self.open(Style::BOLD),
            Tag::Strikethrough => self.open(Style::STRIKE),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.begin(range);
                // A picture within a link leads where the link leads.
                let outer = self.links.last().and_then(|l| l.link.clone());
                self.links.push(Link {
                    link: outer.or_else(|| address(&dest_url)),
                    url: dest_url.into_string(),
                    label: String::new(),
                });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {}
            block => self.start_block(block, range),
        }
    }

    fn start_block(&mut self, tag: Tag<'_>, range: &Range<usize>) {
        self.flush();
        match tag {
            Tag::Heading { level, .. } => {
                self.begin(range);
                self.level = level as u8;
            }
            Tag::BlockQuote(_) => self.quotes += 1,
            Tag::CodeBlock(kind) => {
                let language = match kind {
                    CodeBlockKind::Fenced(info) => language(&info),
                    CodeBlockKind::Indented => "".into(),
                };
                self.code = Some(Code {
                    gap: gap_above(self.source, range.start),
                    language,
                    text: String::new(),
                });
            }
            Tag::List(first) => self.lists.push(first),
            Tag::Item => self.start_item(range),
            Tag::Table(alignments) => {
                self.gap = Some(gap_above(self.source, range.start));
                self.table = Some(Table {
                    right: alignments.iter().map(|a| *a == Alignment::Right).collect(),
                    rows: Vec::new(),
                });
            }
            _ => self.begin(range),
        }
    }

    fn start_item(&mut self, range: &Range<usize>) {
        self.write_marker();
        let marker = match self.lists.last_mut() {
            Some(Some(number)) => {
                let now = *number;
                *number = number.saturating_add(1);
                Marker::Number(now)
            }
            _ => Marker::Bullet,
        };
        self.widths.push(marker.width());
        self.marker = Some((marker, gap_above(self.source, range.start)));
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis => self.close(Style::ITALIC),
            TagEnd::Strong => self.close(Style::BOLD),
            TagEnd::Strikethrough => self.close(Style::STRIKE),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::TableCell => self.end_cell(),
            TagEnd::TableHead | TagEnd::TableRow => {}
            TagEnd::Table => {
                let gap = self.gap.take().unwrap_or_default();
                if let Some(table) = self.table.take() {
                    self.add_below_marker(gap, Content::Table(table));
                }
            }
            TagEnd::CodeBlock => self.end_code(),
            TagEnd::BlockQuote(_) => {
                self.flush();
                self.quotes = self.quotes.saturating_sub(1);
            }
            TagEnd::List(_) => drop(self.lists.pop()),
            TagEnd::Item => {
                self.flush();
                self.write_marker();
                self.widths.pop();
            }
            _ => self.flush(),
        }
    }

    fn end_code(&mut self) {
        let Some(mut code) = self.code.take() else {
            return;
        };
        if code.text.ends_with('\n') {
            code.text.pop();
        }
        let (language, text) = (code.language, code.text);
        self.add_below_marker(code.gap, Content::Code { language, text });
    }

    /// The address is said where it cannot be linked, or where nothing else is there to see.
    fn end_link(&mut self) {
        let Some(link) = self.links.last() else {
            return;
        };
        let (url, label) = (link.url.trim().to_owned(), link.label.trim().to_owned());
        if label.is_empty() {
            self.push(&url);
        } else if link.link.is_none() && !url.is_empty() && !said(&url, &label) {
            self.push(&format!(" ({url})"));
        }
        let done = self.links.pop();
        if let (Some(done), Some(outer)) = (done, self.links.last_mut()) {
            outer.label.push_str(&done.label);
        }
    }

    /// A cell is plain text: addresses are said.
    fn end_cell(&mut self) {
        let spans = std::mem::take(&mut self.spans);
        self.styles = [0; Style::ALL.len()];
        let mut cell = String::new();
        for (at, span) in spans.iter().enumerate() {
            cell.push_str(&span.text);
            let next = spans.get(at + 1).and_then(|s| s.link.as_ref());
            if let Some(link) = &span.link
                && next != Some(link)
                && !said(link, &span.text)
            {
                cell.push_str(&format!(" ({link})"));
            }
        }
        let cell = cell.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(row) = self.table.as_mut().and_then(|t| t.rows.last_mut()) {
            row.push(cell);
        }
    }

    fn text(&mut self, text: &str, range: &Range<usize>) {
        if let Some(code) = &mut self.code {
            code.text.extend(text.chars().filter(|c| shows(*c)));
        } else {
            self.begin(range);
            self.push(text);
        }
    }

    /// Tags for looks are obeyed, all other HTML is shown as it stands.
    fn html(&mut self, text: &str, range: &Range<usize>) {
        self.begin(range);
        let tag = text.trim().strip_prefix('<');
        let tag = tag.and_then(|t| t.strip_suffix('>')).unwrap_or_default();
        let tag = tag.to_ascii_lowercase();
        let end = tag.strip_prefix('/');
        let style = match end.unwrap_or(&tag) {
            "br" | "br/" | "br /" => return self.push("\n"),
            "b" | "strong" => Style::BOLD,
            "i" | "em" => Style::ITALIC,
            "u" | "ins" => Style::UNDERLINE,
            "s" | "del" | "strike" => Style::STRIKE,
            "tg-spoiler" => Style::SPOILER,
            "code" | "kbd" => Style::CODE,
            _ => return self.push(text),
        };
        if end.is_some() {
            self.close(style);
        } else {
            self.open(style);
        }
    }

    fn open(&mut self, style: Style) {
        self.count(style, |n| n + 1);
    }

    fn close(&mut self, style: Style) {
        self.count(style, |n| n.saturating_sub(1));
    }

    fn count(&mut self, style: Style, change: fn(usize) -> usize) {
        for (of, count) in Style::ALL.iter().zip(&mut self.styles) {
            if *of == style {
                *count = change(*count);
            }
        }
    }

    /// Notes whether a gap is above the text that begins here.
    fn begin(&mut self, range: &Range<usize>) {
        if self.gap.is_none() && self.table.is_none() {
            self.gap = Some(gap_above(self.source, range.start));
        }
    }

    fn push(&mut self, text: &str) {
        self.styled(Style::default(), text);
    }

    fn styled(&mut self, also: Style, text: &str) {
        let style = Style::ALL
            .iter()
            .zip(self.styles)
            .filter(|(_, count)| *count > 0)
            .fold(also, |all, (style, _)| all.with(*style));
        let link = self.links.last().and_then(|l| l.link.clone());
        if let Some(open) = self.links.last_mut() {
            open.label.push_str(text);
        }
        let text = text.chars().filter(|c| shows(*c));
        match self.spans.last_mut() {
            Some(last) if last.style == style && last.link == link => last.text.extend(text),
            _ => self.spans.push(Span {
                text: text.collect(),
                style,
                link,
            }),
        }
    }

    /// Ends the text that is being read.
    fn flush(&mut self) {
        let spans = std::mem::take(&mut self.spans);
        let level = std::mem::take(&mut self.level);
        let gap = self.gap.take().unwrap_or_default();
        self.styles = [0; Style::ALL.len()];
        if spans.iter().any(|s| !s.text.trim().is_empty()) {
            self.add(gap, Content::Text { level, spans });
        }
    }

    /// Writes the marker of an item that does not begin with text on a line of its own.
    fn write_marker(&mut self) {
        if self.marker.is_some() {
            let nothing = Content::Text {
                level: 0,
                spans: Vec::new(),
            };
            self.add(false, nothing);
        }
    }

    fn add_below_marker(&mut self, gap: bool, content: Content) {
        let gap = gap && self.marker.is_none();
        self.write_marker();
        self.add(gap, content);
    }

    fn add(&mut self, gap: bool, content: Content) {
        let indent: usize = self.widths.iter().sum();
        let (marker, own, gap) = match self.marker.take() {
            Some((marker, above)) => (Some(marker), marker.width(), above),
            None => (None, 0, gap),
        };
        self.blocks.push(Block {
            place: Place {
                quotes: self.quotes,
                indent: indent.saturating_sub(own).min(INDENT),
                marker,
            },
            gap,
            content,
        });
    }
}
