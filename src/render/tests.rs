//! What holds for every text that a model can write, and what typical answers look like.

use std::time::Instant;

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser};
use unicode_segmentation::UnicodeSegmentation as _;

use super::{
    blank, discord,
    telegram::{self, Entity, Kind, Post},
};

/// Marks of all kinds, closed and unclosed, and what is hard to count.
const NOISE: &[&str] = &[
    "*",
    "**",
    "***",
    "_",
    "__",
    "~~",
    "~",
    "`",
    "``",
    "```\n",
    "\n```\n",
    "~~~\n",
    "> ",
    "\n> ",
    "\n>> ",
    "- ",
    "\n- ",
    "\n  - ",
    "\n    - ",
    "\n* ",
    "\n- [ ] ",
    "\n- [x] ",
    "\n+ ",
    "# ",
    "\n## ",
    "\n#### ",
    "|",
    " | ",
    "\n|---|---|\n",
    "\n| a | b |\n|---|--:|\n| c | d |\n",
    "\n---\n",
    "\n\n",
    "\n",
    " ",
    "  \n",
    "\t",
    "\\",
    "<",
    ">",
    "<u>",
    "</u>",
    "<b>",
    "</b>",
    "<br>",
    "<div>\n",
    "</div>\n",
    "<!--",
    "-->",
    "&amp;",
    "@everyone",
    "@here",
    "<@1234>",
    "<@&5>",
    "||",
    "!",
    "(",
    ")",
    "\u{0}",
    "\u{7}",
    "\u{1b}[31m",
    "\r\n",
    "\r",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "\u{2028}",
    "&#8238;",
    "😀",
    "👨‍👩‍👧‍👦",
    "🇩🇪",
    "𝕏",
    "e\u{301}",
    "שלום",
    "مرحبا",
    "日本語。",
    "नमस्ते",
    "...",
    "? ",
];
/// Marks that say something of their own: numbers and addresses.
const TELLING: &[&str] = &[
    "\n1. ",
    "\n2) ",
    "\n   1. ",
    "[",
    "]",
    "](https://example.com/a_b)",
    "](docs/x.md)",
    "![",
    "<https://a.b/c>",
    "<me@x.org>",
    "https://x.y/z_w*q ",
    "\n[a]: https://ref.example\n",
    "[a]",
    "```rust\n",
    "\n```some words\n",
    "[^1]",
    "\n[^1]: ",
];

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-zA-Z]{1,9} ",
        1 => "[a-z ]{200,600}",
        1 => "\\PC{0,40}",
        1 => "[a-z0-9]{500,5000}",
        1 => proptest::collection::vec("[a-z]{3,30}[.!?] ", 20..80).prop_map(|v| v.concat()),
        1 => Just("*a* `b` **c** ".repeat(60)),
        1 => Just("let x = \"`y`\";\n".repeat(90)),
    ]
}

/// Anything. `telling`: with marks whose rendering says more than the text in the source.
fn markdown(telling: bool) -> impl Strategy<Value = String> {
    let noise = proptest::sample::select(NOISE).prop_map(str::to_owned);
    let telling = if telling {
        let all = proptest::sample::select(TELLING);
        all.prop_map(str::to_owned).boxed()
    } else {
        noise.clone().boxed()
    };
    let piece = prop_oneof![4 => noise, 3 => words(), 1 => telling];
    proptest::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

/// Letters and digits of what a reader of the source sees, in order.
fn seen(markdown: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let tags = ["<u>", "</u>", "<b>", "</b>", "<br>"];
    let mut text = String::new();
    // A lone carriage return ends a line for everybody but the parser's table of entities.
    let source = markdown
        .replace("\r\n", "\n")
        .replace(['\r', '\u{2028}'], "\n");
    let source: String = source.chars().filter(|c| super::shows(*c)).collect();
    for event in Parser::new_ext(&source, options) {
        match event {
            Event::Text(t) | Event::Code(t) => text.push_str(&t),
            Event::Html(t) | Event::InlineHtml(t) if !tags.contains(&t.trim()) => text.push_str(&t),
            _ => {}
        }
    }
    letters(&text)
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whether all letters come in order, others between them allowed.
fn in_order(all: &str, of: &str) -> bool {
    let mut rest = of.chars();
    all.chars().all(|c| rest.any(|other| other == c))
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn slice(text: &str, entity: &Entity) -> String {
    let units: Vec<u16> = text.encode_utf16().collect();
    String::from_utf16(&units[entity.offset..entity.offset + entity.length])
        .expect("an entity cuts a character in two")
}

fn is_code(kind: &Kind) -> bool {
    matches!(kind, Kind::Code | Kind::Pre { .. })
}

/// What the Bot API asks of a message.
fn check_post(post: &Post) {
    assert!(units(&post.text) <= 4096, "{} units", units(&post.text));
    assert!(!blank(&post.text));
    assert_eq!(post.text.trim_end(), post.text);
    assert!(
        post.entities.len() <= 100,
        "{} entities",
        post.entities.len()
    );
    assert!(post.text.chars().all(super::shows), "{:?}", post.text);
    for (n, entity) in post.entities.iter().enumerate() {
        let inner = slice(&post.text, entity);
        assert!(!inner.trim().is_empty(), "{entity:?}");
        assert_eq!(inner.trim_end(), inner, "{entity:?}");
        for other in &post.entities[..n] {
            check_pair(other, entity);
        }
    }
}

fn check_pair(outer: &Entity, inner: &Entity) {
    let (end, other) = (outer.offset + outer.length, inner.offset + inner.length);
    assert!(inner.offset >= outer.offset, "{outer:?} after {inner:?}");
    if inner.offset >= end {
        return;
    }
    assert!(other <= end, "{outer:?} crosses {inner:?}");
    assert!(!is_code(&outer.kind), "{inner:?} in {outer:?}");
    if is_code(&inner.kind) {
        assert_eq!(outer.kind, Kind::Blockquote, "{inner:?} in {outer:?}");
    }
    let single = |k: &Kind| matches!(k, Kind::Blockquote | Kind::Link { .. });
    let same = std::mem::discriminant(&outer.kind) == std::mem::discriminant(&inner.kind);
    assert!(!(same && single(&outer.kind)), "{inner:?} in {outer:?}");
}

/// What Discord asks of a message, and that its fences are closed.
fn check_message(message: &str) {
    assert!(message.chars().count() <= 2000);
    assert!(!blank(message));
    let fences = message
        .lines()
        .filter(|l| l.trim_start_matches("> ").starts_with("```"))
        .count();
    assert_eq!(fences % 2, 0, "{message}");
    let text = outside_code(message);
    for call in ["@everyone", "@here", "<@"] {
        assert!(!text.contains(call), "{message}");
    }
}

/// A message without its code: that calls nobody, and is copied.
fn outside_code(message: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for line in message.lines() {
        if line.trim_start_matches("> ").starts_with("```") {
            inside = !inside;
        } else if !inside {
            out.push_str(&without_spans(line));
            out.push('\n');
        }
    }
    out
}

/// A line without its spans of code.
fn without_spans(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['\\', '`']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('\\') {
            let escaped = rest.chars().nth(1).map_or(0, char::len_utf8);
            out.push_str(&rest[..=escaped]);
            rest = &rest[1 + escaped..];
        } else {
            let ticks = rest.len() - rest.trim_start_matches('`').len();
            let end = rest[ticks..].find(&rest[..ticks]).expect("code is closed");
            rest = &rest[ticks + end + ticks..];
            out.push('.');
        }
    }
    out + rest
}

fn texts(posts: &[Post]) -> String {
    posts.iter().map(|p| p.text.as_str()).collect()
}

/// Discord's messages without what opens and closes fences.
fn without_fences(messages: &[String]) -> String {
    let lines = messages.iter().flat_map(|m| m.lines());
    lines
        .filter(|l| !l.trim_start_matches("> ").starts_with("```"))
        .collect()
}

fn check_all(markdown: &str) {
    let posts = telegram::posts(markdown);
    posts.iter().for_each(check_post);
    let plain = telegram::plain(markdown);
    assert_eq!(plain.len(), posts.len());
    for (plain, post) in plain.iter().zip(&posts) {
        assert!(units(plain) <= 4096);
        assert!(in_order(&letters(&post.text), &letters(plain)));
    }
    for message in discord::posts(markdown) {
        check_message(&message);
    }
    let draft = telegram::draft(markdown, "running x *now*");
    check_post(&draft);
    assert!(draft.text.ends_with("running x *now*"), "{}", draft.text);
    check_message(&discord::draft(markdown, "running"));
    if let Some(caption) = telegram::caption(markdown) {
        check_post(&caption);
        assert!(units(&caption.text) <= 1024);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_within_limits_and_all_words_are_there(text in markdown(true)) {
        check_all(&text);
        let seen = seen(&text);
        let telegram = letters(&texts(&telegram::posts(&text)));
        prop_assert!(in_order(&seen, &telegram), "{seen}\n{telegram}");
        let discord = letters(&without_fences(&discord::posts(&text)));
        prop_assert!(in_order(&seen, &discord), "{seen}\n{discord}");
    }

    #[test]
    fn nothing_is_added_or_repeated(text in markdown(false)) {
        let seen = seen(&text);
        prop_assert_eq!(&letters(&texts(&telegram::posts(&text))), &seen);
        prop_assert_eq!(&letters(&without_fences(&discord::posts(&text))), &seen);
    }

    #[test]
    fn bytes_that_are_no_markdown_do_no_harm(text in "\\PC{0,3000}|[ -~\\n]{0,3000}|(\\x00|.|\\n){0,2000}") {
        check_all(&text);
    }
}

fn lines(numbers: std::ops::Range<usize>, line: impl Fn(usize) -> String) -> String {
    numbers.map(line).collect::<Vec<_>>().concat()
}

/// Long texts, each hard in its way.
fn monsters() -> Vec<(&'static str, String)> {
    const SIZE: usize = 200_000;
    let fill = |unit: &str| unit.repeat(SIZE / unit.len());
    let mut nested = lines(0..300, |n| format!("{}- a\n", "  ".repeat(n)));
    nested.push_str(&"\n".repeat(SIZE / 2));
    vec![
        (
            "prose",
            fill("The quick brown fox jumps over the lazy dog. "),
        ),
        (
            "paragraphs",
            fill("# Head\n\nSome *text* with `code`.\n\n- one\n- two\n\n"),
        ),
        ("one word", fill("a")),
        (
            "marks",
            fill("zalgo\u{301}\u{302}\u{303}").replace("zalgo", ""),
        ),
        ("emoji", fill("👨‍👩‍👧‍👦")),
        ("open fence", format!("```rust\n{}", fill("let x = 1;\n"))),
        ("one line of code", format!("```\n{}", fill("x"))),
        ("stars", fill("*")),
        ("stars and words", fill("*a **b ")),
        ("brackets", fill("[")),
        ("images", fill("![a](")),
        ("links", fill("[a](b)")),
        ("quotes", fill(">")),
        ("bullets", fill("- ")),
        (
            "bullets and blanks",
            format!("{}\n{}", fill("- "), fill("\n")),
        ),
        ("nested", nested),
        (
            "backticks",
            lines(1..600, |n| format!("{} ", "`".repeat(n))),
        ),
        ("angles", fill("<a ")),
        ("comments", fill("<!--")),
        ("table", format!("|a|b|\n|-|-|\n{}", fill("|c|d|\n"))),
        (
            "wide table",
            format!(
                "{}\n{}\n{}",
                "|a".repeat(999),
                "|-".repeat(999),
                fill("|c|\n")
            ),
        ),
        ("underscores", fill("_a__b")),
        ("entities", fill("&amp;")),
        ("looks", fill("*a* `b` ")),
        ("blank code", format!("```\n{}", fill("\n"))),
        ("tabs", fill("\t")),
        ("tags", fill("<u>a")),
        ("definitions", fill("[a]: b\n")),
        ("right to left", fill("שלום עולם. ")),
    ]
}

#[test]
fn long_texts_take_no_longer_than_their_length() {
    for (name, text) in monsters() {
        let begun = Instant::now();
        check_limits(&text);
        let took = begun.elapsed();
        // Without optimisation and on a busy machine; what is quadratic takes minutes.
        assert!(took.as_secs() < 20, "{name}: {took:?}");
    }
}

fn check_limits(text: &str) {
    for post in telegram::posts(text) {
        assert!(units(&post.text) <= 4096 && post.entities.len() <= 100);
    }
    for message in discord::posts(text) {
        assert!(message.chars().count() <= 2000);
    }
    check_post(&telegram::draft(text, "x"));
    check_message(&discord::draft(text, "x"));
}

#[test]
fn posts_end_between_blocks_and_are_filled() {
    let paragraph = "Some words that make a paragraph of text. ".repeat(20);
    let text = [paragraph.trim(); 12].join("\n\n");
    let posts = telegram::posts(&text);
    assert_eq!(posts.len(), 3);
    for post in &posts {
        assert!(post.text.starts_with("Some words") && post.text.ends_with("of text."));
        assert_eq!(post.text.split("\n\n").count(), 4);
    }
}

#[test]
fn a_heading_stays_with_what_it_heads() {
    let text = format!(
        "{}\n\n## Head\n\n{}",
        "word ".repeat(800),
        "text ".repeat(100)
    );
    let posts = telegram::posts(&text);
    assert_eq!(posts.len(), 2);
    assert!(posts[1].text.starts_with("Head\n\ntext"));
}

#[test]
fn code_that_fits_is_not_torn_and_code_that_does_not_keeps_its_language() {
    let code = "let x = 1;\n".repeat(372);
    let text = format!("Intro:\n\n```rust\n{code}```");
    let posts = telegram::posts(&text);
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[1].text, code.trim_end());

    let text = format!(
        "Intro:\n\n```rust\n{}```\nEnd.",
        "let x = 1;\n".repeat(1000)
    );
    let posts = telegram::posts(&text);
    for post in &posts {
        let pre: Vec<_> = post.entities.iter().map(|e| &e.kind).collect();
        let rust = Kind::Pre {
            language: Some("rust".to_owned()),
        };
        assert_eq!(pre, [&rust]);
        assert!(
            post.text
                .lines()
                .all(|l| ["let x = 1;", "Intro:", "", "End."].contains(&l))
        );
    }
    let messages = discord::posts(&text);
    assert!(messages.len() > 5);
    for message in &messages {
        assert_eq!(message.matches("```rust\n").count(), 1, "{message}");
        assert_eq!(
            message.matches("\n```").count(),
            1 + usize::from(message.starts_with("Intro"))
        );
    }
}

#[test]
fn lists_are_cut_between_items_and_go_on_counting() {
    let text = lines(1..301, |n| format!("{n}. item number {n} of the list\n"));
    for posts in [
        telegram::posts(&text).into_iter().map(|p| p.text).collect(),
        discord::posts(&text),
    ] {
        assert!(posts.len() > 1);
        let lines: Vec<&str> = posts.iter().flat_map(|p| p.lines()).collect();
        for (n, line) in lines.iter().enumerate() {
            assert_eq!(*line, format!("{0}. item number {0} of the list", n + 1));
        }
        assert_eq!(lines.len(), 300);
    }
}

#[test]
fn a_long_paragraph_is_cut_after_a_sentence_else_a_word() {
    let text = "This is a sentence that says something. ".repeat(300);
    for post in telegram::posts(&text) {
        assert!(post.text.starts_with("This") && post.text.ends_with("something."));
    }
    let text = "word ".repeat(3000);
    for post in telegram::posts(&text) {
        assert!(post.text.split(' ').all(|w| w == "word"));
    }
}

#[test]
fn a_character_is_never_cut() {
    let family = "👨‍👩‍👧‍👦";
    let posts = telegram::posts(&family.repeat(3000));
    assert!(posts.len() > 5);
    for post in &posts {
        assert!(post.text.graphemes(true).all(|g| g == family));
    }
    for message in discord::posts(&"é🇩🇪".repeat(3000)) {
        assert!(message.graphemes(true).all(|g| g == "é" || g == "🇩🇪"));
    }
}

#[test]
fn looks_are_kept_on_both_sides_of_a_cut() {
    let text = format!("**{}**", "bold words ".repeat(700).trim());
    let posts = telegram::posts(&text);
    assert_eq!(posts.len(), 2);
    for post in &posts {
        let [only] = post.entities.as_slice() else {
            panic!("{:?}", post.entities)
        };
        assert_eq!((only.offset, only.length), (0, units(&post.text)));
        assert_eq!(only.kind, Kind::Bold);
    }
    for message in discord::posts(&text) {
        assert!(
            message.starts_with("**") && message.ends_with("**"),
            "{message}"
        );
    }
}

#[test]
fn nothing_to_see_is_no_post() {
    for text in [
        "",
        "  \n\t ",
        "\u{0}\u{7}",
        "\u{200b}\u{feff}",
        "```\n\n```",
        "\n\n<br>\n",
    ] {
        assert_eq!(telegram::posts(text), [], "{text:?}");
        assert_eq!(discord::posts(text), [""; 0], "{text:?}");
        assert_eq!(telegram::draft(text, "").text, "…");
        assert_eq!(discord::draft(text, " "), "…");
        assert_eq!(telegram::draft(text, "reading").text, "reading");
    }
}

#[test]
fn a_draft_shows_the_end_of_a_long_answer() {
    let text = lines(0..3000, |n| format!("Sentence {n}. "));
    for (draft, limit) in [
        (telegram::draft(&text, "running a skill").text, 4096),
        (discord::draft(&text, "running a skill"), 2000),
    ] {
        let size = units(&draft);
        assert!(size <= limit && size > limit - 100, "{size}");
        assert!(draft.starts_with("…\n"), "{draft}");
        assert!(draft.contains("Sentence 2999.\n\n"), "{draft}");
        assert!(
            draft.trim_end_matches('*').ends_with("running a skill"),
            "{draft}"
        );
    }
    let code = format!("Look:\n```py\n{}", "x = 1\n".repeat(2000));
    let draft = telegram::draft(&code, "");
    assert!(draft.text.starts_with("…\nx = 1\n"));
    assert_eq!(draft.entities.len(), 1);
    let draft = discord::draft(&code, "");
    assert!(
        draft.starts_with("…\n```py\nx = 1\n") && draft.ends_with("x = 1\n```"),
        "{draft}"
    );
}

const ANSWER: &str = "\
## What I found

The **build** fails in `main.rs` *twice*, see [the log](https://ci.example/run/7) 😀:

1. a missing semicolon
2. ~~nothing~~ a typo:
   - `pritn` for `print`

> Quoted **words**

```rust
let x = 1;
```

| Item | Cost |
|:-----|-----:|
| Tea  | 3    |
| Müsli | 12  |

- [x] done
- [ ] open

---
2 * 3 < 7 and snake_case_name, @everyone <@42>
# no heading: \\# this";

#[test]
fn a_typical_answer_for_telegram() {
    let posts = telegram::posts(ANSWER);
    assert_eq!(posts.len(), 1);
    let expected = "\
What I found

The build fails in main.rs twice, see the log 😀:

1. a missing semicolon
2. nothing a typo:
      • pritn for print

Quoted words

let x = 1;

Item  | Cost
------|-----
Tea   |    3
Müsli |   12

☑ done
☐ open

──────────
2 * 3 < 7 and snake_case_name, @everyone <@42>
no heading: # this";
    assert_eq!(posts[0].text, expected);
    let looks: Vec<(String, String)> = posts[0]
        .entities
        .iter()
        .map(|e| (format!("{:?}", e.kind), slice(expected, e)))
        .collect();
    let looks: Vec<(&str, &str)> = looks
        .iter()
        .map(|(k, t)| (k.as_str(), t.as_str()))
        .collect();
    assert_eq!(
        looks,
        [
            ("Bold", "What I found"),
            ("Bold", "build"),
            ("Code", "main.rs"),
            ("Italic", "twice"),
            ("Link { url: \"https://ci.example/run/7\" }", "the log"),
            ("Strikethrough", "nothing"),
            ("Code", "pritn"),
            ("Code", "print"),
            ("Blockquote", "Quoted words"),
            ("Bold", "words"),
            ("Pre { language: Some(\"rust\") }", "let x = 1;"),
            (
                "Pre { language: None }",
                "Item  | Cost\n------|-----\nTea   |    3\nMüsli |   12"
            ),
            ("Bold", "no heading: # this"),
        ]
    );
}

#[test]
fn a_typical_answer_for_discord() {
    let expected = "\
## What I found

The **build** fails in `main.rs` *twice*, see [the log](https://ci.example/run/7) 😀:

1. a missing semicolon
2. ~~nothing~~ a typo:
   - `pritn` for `print`

> Quoted **words**

```rust
let x = 1;
```

```
Item  | Cost
------|-----
Tea   |    3
Müsli |   12
```

- ☑ done
- ☐ open

──────────
2 \\* 3 \\< 7 and snake\\_case\\_name, @\u{200b}everyone <\u{200b}@42>
# no heading: # this";
    assert_eq!(discord::posts(ANSWER), [expected]);
}

#[test]
fn looks_of_code_and_links_do_not_nest_in_telegram() {
    let kinds = |markdown: &str| -> Vec<(Kind, usize, usize)> {
        let posts = telegram::posts(markdown);
        let entities = posts.into_iter().flat_map(|p| p.entities);
        entities.map(|e| (e.kind, e.offset, e.length)).collect()
    };
    assert_eq!(
        kinds("**a `b` c**"),
        [(Kind::Bold, 0, 1), (Kind::Code, 2, 1), (Kind::Bold, 4, 1)]
    );
    let link = Kind::Link {
        url: "https://a.b/".to_owned(),
    };
    assert_eq!(kinds("[`b`](https://a.b)"), [(link.clone(), 0, 1)]);
    assert_eq!(
        kinds("> [**b**](https://a.b)"),
        [(Kind::Blockquote, 0, 1), (link, 0, 1), (Kind::Bold, 0, 1)]
    );
    assert_eq!(
        kinds("***a** b*"),
        [
            (Kind::Bold, 0, 1),
            (Kind::Italic, 0, 1),
            (Kind::Italic, 2, 1)
        ]
    );
}

#[test]
fn addresses_are_never_lost() {
    let text =
        "[a](docs/x.md) [b](mailto:m@x.org) <m@x.org> [](https://e.org/q) ![p](https://e.org/p)";
    let expected = "a (docs/x.md) b (mailto:m@x.org) m@x.org https://e.org/q p";
    assert_eq!(telegram::posts(text)[0].text, expected);
    assert_eq!(
        telegram::plain(text),
        [format!("{expected} (https://e.org/p)")]
    );
    assert_eq!(
        discord::posts("[https://a.b](https://evil.org) https://x.y/a_b*c"),
        ["https://a.b <https://evil.org/> <https://x.y/a_b>\\*c"]
    );
    let cell = "|a|\n|-|\n|[x](https://e.org/1)|";
    assert!(
        telegram::posts(cell)[0]
            .text
            .ends_with("x (https://e.org/1)")
    );
}

#[test]
fn what_would_be_marks_in_discord_is_text() {
    for (markdown, expected) in [
        ("1\\. a", "1\\. a"),
        ("\\- a", "\\- a"),
        ("\\# a", "\\# a"),
        ("\\> a", "\\> a"),
        ("||a||", "\\|\\|a\\|\\|"),
        ("<t:1:R> <:e:1> </c:1>", "\\<t:1:R> \\<:e:1> \\</c:1>"),
        ("`a``b`", "``a`\u{200b}`b``"),
        ("``a`b``", "``a`b``"),
        ("`` ` ``", "`` ` ``"),
        ("*a***b**", "*a*\u{200b}**b**"),
        ("#### small", "**small**"),
    ] {
        assert_eq!(discord::posts(markdown), [expected], "{markdown}");
    }
    let fence = discord::posts("````\n```\n````");
    assert_eq!(fence, ["```\n`\u{200b}`\u{200b}`\n```"]);
}

#[test]
fn what_is_nested_too_deep_is_shown_as_it_stands() {
    let text = format!("{}deep", "> ".repeat(40));
    assert_eq!(telegram::posts(&text)[0].text, text);
    let rule = "- ".repeat(40);
    assert!(
        telegram::posts(&format!("a\n\n{rule}\n\nb"))[0]
            .text
            .contains("\n\n──")
    );
}
