//! The intermediate form: a document is a list of blocks, a block knows where it stands, its text is a
//! list of spans. Nothing nests, so no text can be too deep to render and any text can be cut anywhere.

mod read;
mod source;

use std::sync::Arc;

pub(super) use read::read;

/// What an answer says, block by block.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) blocks: Vec<Block>,
}

/// One block and where it stands.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) place: Place,
    /// A blank line stands above it.
    pub(super) gap: bool,
    pub(super) content: Content,
}

/// Where a block stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// How many quotes it is in.
    pub(super) quotes: usize,
    /// Columns that the list items around it take.
    pub(super) indent: usize,
    /// It begins a list item.
    pub(super) marker: Option<Marker>,
}

/// How a list item begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Bullet,
    Number(u64),
    /// A task, done or not.
    Task(bool),
}

impl Marker {
    /// Columns it takes with the space after it.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Number(n) => n.to_string().len() + 2,
            Self::Bullet | Self::Task(_) => 2,
        }
    }
}

/// What a block holds.
#[derive(Debug)]
pub(super) enum Content {
    /// A paragraph (level 0) or a heading (1 to 6). Line breaks are in the text.
    Text {
        level: u8,
        spans: Vec<Span>,
    },
    /// Code as it stands, without the last line break.
    Code {
        language: Arc<str>,
        text: String,
    },
    /// Rows of cells; the first row is the head.
    Table(Table),
    Rule,
}

/// A table.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Columns whose cells stand at the right.
    pub(super) right: Vec<bool>,
    pub(super) rows: Vec<Vec<String>>,
}

/// Text of one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) style: Style,
    /// An absolute address of `http`, `https` or `tg`.
    pub(super) link: Option<Arc<str>>,
}

impl Span {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            style: Style::default(),
            link: None,
        }
    }

    pub(super) fn is_code(&self) -> bool {
        self.style.has(Style::CODE)
    }
}

/// A set of styles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Style(u8);

impl Style {
    pub(super) const UNDERLINE: Self = Self(1);
    pub(super) const STRIKE: Self = Self(2);
    pub(super) const SPOILER: Self = Self(4);
    pub(super) const BOLD: Self = Self(8);
    pub(super) const ITALIC: Self = Self(16);
    pub(super) const CODE: Self = Self(32);
    /// Each alone, in the order in which they nest, outermost first.
    pub(super) const ALL: [Self; 6] = [
        Self::UNDERLINE,
        Self::STRIKE,
        Self::SPOILER,
        Self::BOLD,
        Self::ITALIC,
        Self::CODE,
    ];

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What both have.
    pub(super) fn shared(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// How many styles these are.
    pub(super) fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// Whether a character is shown at all: control characters are not, nor those that make text read in
/// another order than it is written.
pub(super) fn shows(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    matches!(c, '\n' | '\t') || !(c.is_control() || turns)
}
