//! Output of a program that may say anything: the beginning and the end are kept, the middle is
//! counted. It does not judge the text; that is for whoever shows it.

use std::collections::VecDeque;

use super::Output;

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
    use super::Keep;

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
