use proptest::prelude::*;

use super::*;

fn all(chunks: &[&[u8]]) -> Vec<Event> {
    let mut parser = Parser::default();
    let mut events = Vec::new();
    for chunk in chunks {
        parser.push(chunk, &mut events).unwrap();
    }
    parser.finish(&mut events);
    events
}

fn event(name: &str, data: &str) -> Event {
    Event {
        name: name.to_owned(),
        data: data.to_owned(),
    }
}

#[test]
fn the_standard_examples() {
    let text =
        b": comment\n\ndata: one\n\ndata:two\ndata:  lines\nid: 7\nretry: 5\n\nevent: x\ndata\n\n";
    assert_eq!(
        all(&[text]),
        [event("", "one"), event("", "two\n lines"), event("x", "")]
    );
}

#[test]
fn every_line_ending_and_a_byte_order_mark() {
    let text = "\u{feff}data: a\r\n\r\ndata: b\r\rdata: c\n\n";
    let expected = [event("", "a"), event("", "b"), event("", "c")];
    assert_eq!(all(&[text.as_bytes()]), expected);
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(all(&bytes), expected);
}

#[test]
fn an_event_name_without_data_is_forgotten() {
    assert_eq!(all(&[b"event: a\n\ndata: b\n\n"]), [event("", "b")]);
}

#[test]
fn the_last_blank_line_may_be_missing_but_not_half_a_line() {
    assert_eq!(all(&[b"data: [DONE]\n"]), [event("", "[DONE]")]);
    assert_eq!(all(&[b"data: {\"cut"]), []);
}

#[test]
fn what_has_no_end_is_an_error() {
    let mut events = Vec::new();
    let mut parser = Parser::with_limit(16);
    assert_eq!(parser.push(&[b'x'; 16], &mut events), Ok(()));
    assert_eq!(parser.push(b"y", &mut events), Err(Oversized(16)));
    let mut parser = Parser::with_limit(16);
    assert_eq!(parser.push(b"data: 12345678\n", &mut events), Ok(()));
    let more = parser.push(b"data: 12345678\n", &mut events);
    assert_eq!(more, Err(Oversized(16)));
}

fn lines() -> impl Strategy<Value = Vec<(String, &'static str)>> {
    let line = prop_oneof![
        "data: ?[a-zé🦀:{}\" ]{0,10}",
        "event: [a-z]{1,5}",
        ":[a-z]{0,5}",
        "[a-z]{0,4}",
        Just(String::new()),
        Just(String::new()),
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
    prop::collection::vec((line, end), 0..20)
}

proptest! {
    #[test]
    fn chunking_does_not_matter(lines in lines(), cuts in prop::collection::vec(0usize..400, 0..20)) {
        let whole: Vec<u8> = lines.iter().flat_map(|(l, e)| [l.as_bytes(), e.as_bytes()].concat()).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (whole.len() + 1)).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
        prop_assert_eq!(all(&chunks), all(&[&whole]));
    }

    #[test]
    fn any_bytes_are_survived(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20)) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        all(&chunks);
    }

    #[test]
    fn what_was_written_is_read(data in prop::collection::vec("[^\r\n\u{feff}]{0,20}", 1..4)) {
        let text: String = data.iter().flat_map(|d| ["data: ", d.as_str(), "\n"]).collect();
        prop_assert_eq!(all(&[format!("{text}\n").as_bytes()]), [event("", &data.join("\n"))]);
    }
}
