//! Output of a program that may say anything: the beginning and the end are kept, the middle is
//! counted. It does not judge the text; that is for whoever shows it.

use std::{collections::VecDeque, str::Chars};

use super::Output;

impl Output {
    /// As text that a person or a model may see: without control sequences and invisible marks,
    /// and with a note where something was dropped. It is still untrusted.
    pub fn text(&self) -> String {
        if self.dropped == 0 {
            return clean(&self.bytes);
        }
        let (head, tail) = self.bytes.split_at(self.bytes.len().div_ceil(2));
        let note = format!("\n[{} bytes left out]\n", self.dropped);
        clean(head) + &note + &clean(tail)
    }
}

/// Text without terminal sequences, control characters (but for line ends and tabs), and marks
/// that reorder or hide what stands there.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut all = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\u{9b}' => skip_parameters(&mut rest),
            '\r' if rest.as_str().starts_with('\n') => {}
            '\r' => all.push('\n'),
            '\n' | '\t' => all.push(c),
            c if c.is_control() || hidden(c) => {}
            c => all.push(c),
        }
    }
    all
}

fn skip_sequence(rest: &mut Chars<'_>) {
    match rest.next() {
        Some('[') => skip_parameters(rest),
        // A string (title, link, …) up to its end.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next() {
                if c == '\u{7}' || c == '\u{9c}' {
                    break;
                }
                if c == '\u{1b}' {
                    rest.next();
                    break;
                }
                if c == '\n' {
                    break;
                }
            }
        }
        Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => {
            rest.next();
        }
        _ => {}
    }
}

fn skip_parameters(rest: &mut Chars<'_>) {
    for c in rest.by_ref() {
        if matches!(c, '\u{40}'..='\u{7e}') || c == '\n' {
            break;
        }
    }
}

fn hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// One stream while it runs.
#[derive(Debug)]
pub(super) struct Keep {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    limit: usize,
    total: u64,
}

impl Keep {
    /// Keeps at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            half: limit.div_ceil(2),
            limit,
            total: 0,
        }
    }

    /// Takes what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.half.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        let keep = self.limit - self.half;
        let rest = rest.get(rest.len().saturating_sub(keep)..).unwrap_or(rest);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(keep);
        drop(self.tail.drain(..over));
    }

    /// How much came in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// What was kept, and how much was not.
    pub(super) fn finish(mut self) -> Output {
        self.head.extend(self.tail);
        let dropped = self.total.saturating_sub(self.head.len() as u64);
        Output {
            bytes: self.head,
            dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Keep, Output, clean};

    #[test]
    fn what_fits_is_kept_whole() {
        let mut keep = Keep::new(10);
        keep.push(b"12345");
        keep.push(b"67890");
        let output = keep.finish();
        assert_eq!(output.bytes, b"1234567890");
        assert_eq!(output.dropped, 0);
    }

    #[test]
    fn what_was_dropped_is_said() {
        let output = Output {
            bytes: b"abcxyz".to_vec(),
            dropped: 20,
        };
        assert_eq!(output.text(), "abc\n[20 bytes left out]\nxyz");
    }

    #[test]
    fn text_shows_what_it_holds() {
        for (raw, shown) in [
            ("plain\ttext\r\nnext", "plain\ttext\nnext"),
            ("over\rwritten", "over\nwritten"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07x", "x"),
            ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\u{9b}2Jx", "x"),
            ("a\0b\x08c\x7f", "abc"),
            ("x\u{202e}txt.exe\u{2066}", "xtxt.exe"),
            ("\u{feff}zero\u{200b}width", "zerowidth"),
            ("\u{e0041}tag", "tag"),
            ("\x1b", ""),
            ("\x1b[", ""),
            ("\x1b]unclosed\nnext", "next"),
            ("\x1b(Bx", "x"),
            ("wörter, 漢字, 👍🏽", "wörter, 漢字, 👍🏽"),
        ] {
            assert_eq!(clean(raw.as_bytes()), shown, "{raw:?}");
        }
        assert_eq!(clean(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn of_too_much_the_beginning_and_the_end_are_kept() {
        for piece in [1, 2, 3, 7, 100] {
            let mut keep = Keep::new(6);
            let text: Vec<u8> = (b'a'..=b'z').collect();
            for part in text.chunks(piece) {
                keep.push(part);
            }
            let output = keep.finish();
            assert_eq!(output.bytes, b"abcxyz", "pieces of {piece}");
            assert_eq!(output.dropped, 20);
        }
    }
}
