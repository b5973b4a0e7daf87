//! Lines are cut into posts under a platform's limit: between blocks where that leaves no scraps, then
//! between items, rows and lines, then within a line after a sentence, a word, a character.

use std::collections::VecDeque;

use unicode_segmentation::UnicodeSegmentation as _;

use super::document::{Place, Span};
use super::lines::{Joint, Kind, Line};

/// What a text takes of a post.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// In the platform's units.
    pub(super) size: usize,
    /// Formatted places.
    pub(super) entities: usize,
}

impl Cost {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            size: self.size.saturating_add(other.size),
            entities: self.entities.saturating_add(other.entities),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            size: self.size.saturating_sub(other.size),
            entities: self.entities.saturating_sub(other.entities),
        }
    }

    fn fits(self, limit: Self) -> bool {
        self.size <= limit.size && self.entities <= limit.entities
    }
}

/// What a platform takes for what it writes: never less than it writes in the end. One character with
/// all that is around it fits into a post.
pub(super) trait Scale {
    /// What one post may take.
    fn limit(&self) -> Cost;
    /// A line without its text: the break above it, its marker, the fence that it opens and closes.
    fn line(&self, line: &Line, above: Option<&Line>) -> Cost;
    /// A span without its text.
    fn span(&self, line: &Line, span: &Span) -> Cost;
    /// A character of a span.
    fn char(&self, line: &Line, span: &Span, c: char) -> usize;
}

/// Cuts lines into posts; each has something to see.
pub(super) fn split(lines: Vec<Line>, scale: &dyn Scale) -> Vec<Vec<Line>> {
    let mut rest = VecDeque::from(lines);
    let mut posts = Vec::new();
    while !rest.is_empty() {
        let post = next(&mut rest, scale);
        if !empty(&post) {
            posts.push(post);
        }
    }
    posts
}

/// Whether a post shows nothing.
fn empty(post: &[Line]) -> bool {
    post.iter().all(|line| {
        line.kind != Kind::Rule
            && line.place.marker.is_none()
            && line.spans.iter().all(|s| super::blank(&s.text))
    })
}

/// Takes one post from the front.
fn next(rest: &mut VecDeque<Line>, scale: &dyn Scale) -> Vec<Line> {
    let limit = scale.limit();
    // What the first n lines take, up to the first that does not fit.
    let mut fill = vec![Cost::default()];
    let mut above = None;
    for line in rest.iter() {
        let before = fill.last().copied().unwrap_or_default();
        let after = before.plus(weight(line, above, scale, limit.minus(before)));
        if !after.fits(limit) {
            break;
        }
        fill.push(after);
        above = Some(line);
    }
    let whole = fill.len() - 1;
    if whole == rest.len() {
        return rest.drain(..).collect();
    }
    if let Some(at) = cut_between(rest, &fill, scale) {
        return rest.drain(..at).collect();
    }
    let room = limit.minus(fill.last().copied().unwrap_or_default());
    let mut post: Vec<Line> = rest.drain(..whole).collect();
    if let Some(line) = rest.pop_front() {
        let (head, tail) = cut_within(line, post.last(), room, scale);
        post.extend(head);
        match tail {
            // Never twice the same: what cannot be torn goes as it is.
            Some(tail) if post.is_empty() => post.push(tail),
            Some(tail) => rest.push_front(tail),
            None => {}
        }
    }
    post
}

/// Before which line to end a post: at the best joint that leaves no scrap, or after which a piece
/// follows whole that would be torn otherwise. None: the line that does not fit is to be torn.
fn cut_between(rest: &VecDeque<Line>, fill: &[Cost], scale: &dyn Scale) -> Option<usize> {
    let scrap = scale.limit().size / 4;
    Joint::ALL.into_iter().find_map(|joint| {
        let at = (1..fill.len())
            .rev()
            .find(|at| rest.get(*at).is_some_and(|line| line.joint >= joint))?;
        let enough = fill.get(at).is_some_and(|cost| cost.size >= scrap);
        (enough || piece_fits(rest, at, joint, scale)).then_some(at)
    })
}

/// Whether what begins at a line, up to the next joint as good, fits into a post.
fn piece_fits(rest: &VecDeque<Line>, at: usize, joint: Joint, scale: &dyn Scale) -> bool {
    let limit = scale.limit();
    let mut cost = Cost::default();
    let mut above = None;
    for (n, line) in rest.iter().skip(at).enumerate() {
        if n > 0 && line.joint >= joint {
            break;
        }
        cost = cost.plus(weight(line, above, scale, limit.minus(cost)));
        if !cost.fits(limit) {
            return false;
        }
        above = Some(line);
    }
    true
}

/// What a line takes; counted no further than to see that it takes more than `room`.
fn weight(line: &Line, above: Option<&Line>, scale: &dyn Scale, room: Cost) -> Cost {
    let mut cost = scale.line(line, above);
    for span in &line.spans {
        cost = cost.plus(scale.span(line, span));
        for c in span.text.chars() {
            cost.size = cost.size.saturating_add(scale.char(line, span, c));
            if cost.size > room.size {
                return cost;
            }
        }
    }
    cost
}

/// A place in a line: the span and the byte in it.
type Spot = (usize, usize);

/// Tears a line: what goes into the room that is left below `above`, and what remains. No head means
/// that the room is too small for a good place; on a post of its own there always is one.
fn cut_within(
    line: Line,
    above: Option<&Line>,
    room: Cost,
    scale: &dyn Scale,
) -> (Option<Line>, Option<Line>) {
    let Some(spot) = spot(&line, above, room, scale) else {
        return (None, Some(line));
    };
    let mut head = line;
    let mut tail = take_from(&mut head, spot);
    tail.gap = false;
    tail.joint = Joint::Line;
    if let Some(marker) = tail.place.marker.take() {
        tail.place.indent += marker.width();
    }
    trim(&mut head, false);
    trim(&mut tail, true);
    (Some(head), (!tail.spans.is_empty()).then_some(tail))
}

/// Where to tear a line.
fn spot(line: &Line, above: Option<&Line>, room: Cost, scale: &dyn Scale) -> Option<Spot> {
    let mut cost = scale.line(line, above);
    let (mut sentence, mut word, mut character) = (None, None, None);
    let mut before = ' ';
    'line: for (at, span) in line.spans.iter().enumerate() {
        cost = cost.plus(scale.span(line, span));
        for (byte, grapheme) in span.window(room).grapheme_indices(true) {
            let first = grapheme.chars().next().unwrap_or_default();
            if byte + at > 0 && cost.fits(room) {
                let spot = (at, byte);
                character = Some(spot);
                if before.is_whitespace() && !first.is_whitespace() {
                    word = Some((spot, cost.size));
                }
                if ends_sentence(before) && first.is_whitespace() || ends_wide(before) {
                    sentence = Some((spot, cost.size));
                }
            }
            for c in grapheme.chars() {
                cost.size = cost.size.saturating_add(scale.char(line, span, c));
            }
            if !cost.fits(room) {
                break 'line;
            }
            before = grapheme.chars().next_back().unwrap_or_default();
        }
    }
    let far = |least: usize| move |(spot, size): (Spot, usize)| (size >= least).then_some(spot);
    let found = sentence
        .and_then(far(room.size / 2))
        .or_else(|| word.and_then(far(room.size / 4)));
    if above.is_some() {
        // A new post is better than a torn word.
        return found;
    }
    found
        .or(character)
        .or_else(|| inside_character(line, room, scale))
}

/// Where to tear a character that does not fit into a post with all its marks.
fn inside_character(line: &Line, room: Cost, scale: &dyn Scale) -> Option<Spot> {
    let mut cost = scale.line(line, None);
    for (at, span) in line.spans.iter().enumerate() {
        cost = cost.plus(scale.span(line, span));
        for (byte, c) in span.text.char_indices() {
            cost.size = cost.size.saturating_add(scale.char(line, span, c));
            if byte + at > 0 && !cost.fits(room) {
                return Some((at, byte));
            }
        }
    }
    None
}

fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | ':' | ';' | '؟' | '۔' | '।')
}

/// Ends of sentences in scripts without spaces.
fn ends_wide(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '；')
}

impl Span {
    /// As much of its text as can fit: every character takes one at least.
    fn window(&self, room: Cost) -> &str {
        let mut end = self
            .text
            .len()
            .min(room.size.saturating_mul(4).saturating_add(4));
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.get(..end).unwrap_or_default()
    }
}

/// Takes what follows a place from a line.
fn take_from(line: &mut Line, (at, byte): Spot) -> Line {
    let mut head: VecDeque<Span> = line.spans.drain(..at).collect();
    if let Some(first) = line.spans.front_mut()
        && byte > 0
    {
        let rest = first.text.split_off(byte);
        head.push_back(Span {
            text: std::mem::replace(&mut first.text, rest),
            style: first.style,
            link: first.link.clone(),
        });
    }
    Line {
        block: line.block,
        place: line.place.clone(),
        gap: line.gap,
        kind: line.kind.clone(),
        spans: std::mem::replace(&mut line.spans, head),
        joint: line.joint,
    }
}

/// Takes space from the end where a line was torn. Code keeps it.
fn trim(line: &mut Line, start: bool) {
    if line.is_code() {
        return;
    }
    loop {
        let end = if start {
            line.spans.front_mut()
        } else {
            line.spans.back_mut()
        };
        let Some(span) = end.filter(|s| !s.is_code()) else {
            return;
        };
        let kept = if start {
            span.text.trim_start()
        } else {
            span.text.trim_end()
        };
        if kept.len() < span.text.len() {
            span.text = kept.to_owned();
        }
        if !span.text.is_empty() {
            return;
        }
        if start {
            line.spans.pop_front();
        } else {
            line.spans.pop_back();
        }
    }
}

/// The end of an answer with a closing line, as one post: what does not fit is left out at the
/// beginning, which then is `…`.
pub(super) fn end_of(lines: Vec<Line>, closing: Option<Line>, scale: &dyn Scale) -> Vec<Line> {
    let limit = scale.limit();
    let mut rest = lines;
    if empty(&rest) {
        rest.clear();
    }
    rest.extend(closing);
    let mark = Line::note(Span::plain("…"), false);
    let mut room = limit.minus(weight(&mark, None, scale, limit));
    let mut first = rest.len();
    let mut cut = None;
    let mut whole = Cost::default();
    while first > 0 {
        let at = first - 1;
        let (Some(line), below) = (rest.get(at), rest.get(first)) else {
            break;
        };
        // Counted as if nothing stood above it, and what is below as it then stands.
        let alone = weight(line, Some(&mark), scale, limit);
        let saved = below.map_or_else(Cost::default, |below| {
            scale
                .line(below, Some(&mark))
                .minus(scale.line(below, Some(line)))
        });
        let now = whole.plus(alone).minus(saved);
        if !now.fits(room) {
            room = room.minus(whole);
            cut = Some(at);
            break;
        }
        whole = now;
        first = at;
    }
    let Some(at) = cut else {
        return rest;
    };
    let mut post = vec![mark];
    let mut tail = rest.split_off(first);
    if let Some(line) = rest.into_iter().nth(at) {
        post.extend(end_of_line(line, room, scale));
    }
    post.append(&mut tail);
    post
}

/// The end of a line that fits into the room, from a word on.
fn end_of_line(mut line: Line, room: Cost, scale: &dyn Scale) -> Option<Line> {
    line.place = Place {
        marker: None,
        ..line.place
    };
    line.gap = false;
    let mut cost = scale.line(&line, None).plus(Cost {
        size: 2,
        entities: 0,
    });
    let (mut word, mut character) = (None, None);
    'line: for (at, span) in line.spans.iter().enumerate().rev() {
        cost = cost.plus(scale.span(&line, span));
        let mut below = "";
        for (byte, grapheme) in span.text.grapheme_indices(true).rev() {
            for c in grapheme.chars() {
                cost.size = cost.size.saturating_add(scale.char(&line, span, c));
            }
            if !cost.fits(room) {
                break 'line;
            }
            character = Some((at, byte));
            if super::blank(grapheme) && !super::blank(below) {
                word = character;
            }
            below = grapheme;
        }
    }
    let mut tail = take_from(&mut line, word.or(character)?);
    trim(&mut tail, true);
    (!tail.spans.is_empty()).then_some(tail)
}
