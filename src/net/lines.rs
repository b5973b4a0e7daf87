//! Lines of JSON (NDJSON) from bytes in any chunking.
//!
//! Owns the splitting; does not parse what is in the lines.

use std::borrow::Cow;

use thiserror::Error;

/// A line or an event that is longer than we are ready to keep in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a single line of more than {0} bytes")]
pub struct Oversized(pub usize);

/// The longest line that is kept, unless told otherwise.
pub const LONGEST: usize = 4 << 20;

/// Splits at line feeds; blank lines are left out.
#[derive(Debug)]
pub struct Splitter {
    rest: Vec<u8>,
    limit: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::with_limit(LONGEST)
    }
}

impl Splitter {
    /// With another limit on the length of a line.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            rest: Vec::new(),
            limit,
        }
    }

    /// Takes the next bytes and adds the lines that they complete.
    pub fn push(&mut self, mut bytes: &[u8], lines: &mut Vec<String>) -> Result<(), Oversized> {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (head, tail) = bytes.split_at(end);
            bytes = tail.get(1..).unwrap_or_default();
            self.fits(head)?;
            if self.rest.is_empty() {
                add(head, lines);
            } else {
                self.rest.extend_from_slice(head);
                add(&self.rest, lines);
                self.rest.clear();
            }
        }
        self.fits(bytes)?;
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// At the end of the stream: the last line may lack its line feed.
    pub fn finish(&mut self, lines: &mut Vec<String>) {
        add(&self.rest, lines);
        self.rest.clear();
    }

    fn fits(&self, more: &[u8]) -> Result<(), Oversized> {
        if self.rest.len() + more.len() > self.limit {
            return Err(Oversized(self.limit));
        }
        Ok(())
    }
}

fn add(line: &[u8], lines: &mut Vec<String>) {
    let text: Cow<'_, str> = String::from_utf8_lossy(line);
    let text = text.trim_matches(['\r', ' ', '\t', '\u{feff}']);
    if !text.is_empty() {
        lines.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, &mut lines).unwrap();
        }
        splitter.finish(&mut lines);
        lines
    }

    #[test]
    fn blank_lines_are_left_out_and_the_last_may_be_open() {
        assert_eq!(
            all(&[b"{\"a\":1}\r\n\n  \n{\"b\"", b":2}"]),
            ["{\"a\":1}", "{\"b\":2}"]
        );
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let mut splitter = Splitter::with_limit(10);
        let mut lines = Vec::new();
        assert_eq!(splitter.push(b"12345\n1234567890\n", &mut lines), Ok(()));
        assert_eq!(splitter.push(b"123456", &mut lines), Ok(()));
        assert_eq!(splitter.push(b"78901", &mut lines), Err(Oversized(10)));
    }

    proptest! {
        #[test]
        fn chunking_does_not_matter(
            lines in prop::collection::vec("[a-zäö€🦀{}:]{1,12}", 0..8),
            cuts in prop::collection::vec(0usize..100, 0..10),
        ) {
            let whole = lines.iter().flat_map(|l| [l.as_bytes(), b"\n"].concat()).collect::<Vec<u8>>();
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (whole.len() + 1)).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
            prop_assert_eq!(all(&chunks), lines);
        }
    }
}
