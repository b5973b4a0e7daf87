//! A message's text with its entities, as Markdown.

use std::cmp::Reverse;

use super::wire::Entity;

/// Telegram takes 100 in a message.
const MOST: usize = 200;

/// What is written at a place of the text; by place, ends before beginnings, inner ends and outer
/// beginnings first.
type Mark = (usize, bool, Reverse<usize>, String);

/// The text as Markdown. What the writer typed stays as it was typed; entities that lie outside of the
/// text or inside of a character are left out.
pub(super) fn markdown(text: &str, entities: &[Entity]) -> String {
    let mut marks: Vec<Mark> = Vec::new();
    for entity in entities.iter().take(MOST) {
        if let Some((from, to)) = range(text, entity) {
            mark(text, (from, to), entity, &mut marks);
        }
    }
    marks.sort();
    let mut out = String::with_capacity(text.len() + marks.len() * 4);
    let mut at = 0;
    for (place, _, _, word) in &marks {
        out.push_str(text.get(at..*place).unwrap_or_default());
        out.push_str(word);
        at = *place;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// The text without one of its entities, such as the name of who is spoken to.
pub(super) fn without(text: &str, entity: &Entity) -> Option<(String, usize)> {
    let (from, to) = bytes(text, entity)?;
    let rest = text.get(to..)?;
    let trimmed = rest.trim_start_matches([' ', ',', ':', '\n']);
    let gone = entity.length + rest.len() - trimmed.len();
    Some((format!("{}{trimmed}", text.get(..from)?), gone))
}

/// What an entity covers.
pub(super) fn covered<'a>(text: &'a str, entity: &Entity) -> Option<&'a str> {
    let (from, to) = bytes(text, entity)?;
    text.get(from..to)
}

fn bytes(text: &str, entity: &Entity) -> Option<(usize, usize)> {
    let end = entity.offset.checked_add(entity.length)?;
    let (mut units, mut from, mut to) = (0, None, None);
    for (at, c) in text.char_indices() {
        if units == entity.offset {
            from = Some(at);
        }
        if units == end {
            to = Some(at);
        }
        units += c.len_utf16();
    }
    if units == end {
        to = Some(text.len());
    }
    from.zip(to)
}

/// The same without white space at its ends, which Markdown does not let be bold.
fn range(text: &str, entity: &Entity) -> Option<(usize, usize)> {
    let (from, to) = bytes(text, entity)?;
    let inner = text.get(from..to)?;
    let from = from + inner.len() - inner.trim_start().len();
    let to = from + inner.trim().len();
    (from < to).then_some((from, to))
}

fn mark(text: &str, (from, to): (usize, usize), entity: &Entity, marks: &mut Vec<Mark>) {
    let inner = text.get(from..to).unwrap_or_default();
    let mut around = |before: String, after: String| {
        marks.push((from, true, Reverse(to), before));
        marks.push((to, false, Reverse(from), after));
    };
    let mut both = |word: &str| around(word.to_owned(), word.to_owned());
    match entity.kind.as_str() {
        "bold" => both("**"),
        "italic" => both("_"),
        "strikethrough" => both("~~"),
        "code" => both(if inner.contains('`') { "``" } else { "`" }),
        "pre" => {
            let language = entity.language.as_deref().unwrap_or_default();
            let line = |there: bool| if there { "" } else { "\n" };
            let begins = from == 0 || text.get(..from).is_some_and(|t| t.ends_with('\n'));
            let ends = to == text.len() || text.get(to..).is_some_and(|t| t.starts_with('\n'));
            around(
                format!("{}```{language}\n", line(begins)),
                format!("\n```{}", line(ends)),
            );
        }
        "text_link" => {
            let url = entity.url.as_deref().unwrap_or_default();
            around("[".to_owned(), format!("]({url})"));
        }
        "blockquote" | "expandable_blockquote" => {
            let lines = inner.match_indices('\n').map(|(n, _)| from + n + 1);
            for at in std::iter::once(from).chain(lines) {
                marks.push((at, true, Reverse(usize::MAX), "> ".to_owned()));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(kind: &str, offset: usize, length: usize) -> Entity {
        Entity {
            kind: kind.to_owned(),
            offset,
            length,
            url: None,
            user: None,
            language: None,
        }
    }

    #[test]
    fn offsets_are_utf_16() {
        // The emoji is two units.
        let text = "😀 bold and it";
        let entities = [entity("bold", 3, 4), entity("italic", 12, 2)];
        assert_eq!(markdown(text, &entities), "😀 **bold** and _it_");
    }

    #[test]
    fn entities_nest() {
        let entities = [entity("bold", 0, 7), entity("italic", 4, 3)];
        assert_eq!(markdown("all too", &entities), "**all _too_**");
        let entities = [entity("bold", 0, 3), entity("italic", 0, 7)];
        assert_eq!(markdown("all too", &entities), "_**all** too_");
    }

    #[test]
    fn blocks_stand_on_lines_of_their_own() {
        let mut pre = entity("pre", 4, 9);
        pre.language = Some("rust".to_owned());
        assert_eq!(
            markdown("see fn main() there", &[pre]),
            "see \n```rust\nfn main()\n```\n there"
        );
        assert_eq!(
            markdown("a\nb\nc", &[entity("blockquote", 0, 3)]),
            "> a\n> b\nc"
        );
    }

    #[test]
    fn links_keep_their_address() {
        let mut link = entity("text_link", 0, 4);
        link.url = Some("https://example.org/x".to_owned());
        assert_eq!(markdown("here", &[link]), "[here](https://example.org/x)");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        for (offset, length) in [
            (1, 1),
            (0, 1),
            (0, 99),
            (usize::MAX, 2),
            (2, 0),
            (0, usize::MAX),
        ] {
            let entities = [entity("bold", offset, length)];
            assert_eq!(markdown("😀x", &entities), "😀x", "{offset} {length}");
        }
        assert_eq!(markdown(" a ", &[entity("bold", 0, 3)]), " **a** ");
    }

    #[test]
    fn a_mention_is_taken_out() {
        let (text, gone) = without("@bot, hello", &entity("mention", 0, 4)).unwrap();
        assert_eq!((text.as_str(), gone), ("hello", 6));
    }
}
