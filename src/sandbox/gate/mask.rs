//! Replacing texts in a stream, however it is cut into pieces.

/// Replaces each of some texts by another. Only what may be the beginning of one is held back.
#[derive(Debug)]
pub(super) struct Mask {
    /// The longest first: a text that contains another is the one that was meant.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    held: Vec<u8>,
    found: usize,
}

enum Here {
    /// This many bytes are one of the texts; it becomes the other.
    Is(usize, Vec<u8>),
    /// It may become one with what follows.
    MayBe,
    No,
}

impl Mask {
    /// From each first text to its second; empty first texts are left out.
    pub(super) fn new(mut pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        pairs.retain(|(from, _)| !from.is_empty());
        pairs.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Self {
            pairs,
            held: Vec::new(),
            found: 0,
        }
    }

    /// How many were replaced.
    pub(super) fn found(&self) -> usize {
        self.found
    }

    /// The next piece; what can be passed on of all that came.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.replace(false)
    }

    /// What is still held, when nothing follows.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.replace(true)
    }

    fn replace(&mut self, last: bool) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let mut out = Vec::with_capacity(held.len());
        let mut rest = held.as_slice();
        while let Some((first, after)) = rest.split_first() {
            match self.look(rest, last) {
                Here::Is(length, to) => {
                    self.found += 1;
                    out.extend(to);
                    rest = rest.get(length..).unwrap_or_default();
                }
                Here::MayBe => {
                    self.held = rest.to_vec();
                    break;
                }
                Here::No => {
                    out.push(*first);
                    rest = after;
                }
            }
        }
        out
    }

    fn look(&self, rest: &[u8], last: bool) -> Here {
        for (from, to) in &self.pairs {
            if from.first() != rest.first() {
                continue;
            }
            if rest.starts_with(from) {
                return Here::Is(from.len(), to.clone());
            }
            if !last && from.starts_with(rest) {
                return Here::MayBe;
            }
        }
        Here::No
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(pairs: &[(&str, &str)]) -> Mask {
        let pairs = pairs.iter();
        Mask::new(
            pairs
                .map(|(from, to)| (from.as_bytes().to_vec(), to.as_bytes().to_vec()))
                .collect(),
        )
    }

    fn through(mut mask: Mask, pieces: &[&[u8]]) -> String {
        let mut out: Vec<u8> = pieces.iter().flat_map(|p| mask.push(p)).collect();
        out.extend(mask.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_a_possible_beginning_is_held_back() {
        let mut mask = mask(&[("secret", "S")]);
        assert_eq!(mask.push(b"data: a sec"), b"data: a ");
        assert_eq!(mask.push(b"ond"), b"second");
        assert_eq!(mask.push(b"\n\n"), b"\n\n");
        assert_eq!(mask.push(b"secre"), b"");
        assert_eq!(mask.push(b"t!"), b"S!");
        assert_eq!(mask.push(b"s"), b"");
        assert_eq!(mask.finish(), b"s");
    }

    #[test]
    fn a_text_is_found_wherever_it_is_cut() {
        let whole = b"x abab-abac y ababac, abababac";
        let expected = "x abab-abac y H, abH";
        for a in 0..=whole.len() {
            for b in a..=whole.len() {
                let pieces = [&whole[..a], &whole[a..b], &whole[b..]];
                assert_eq!(
                    through(mask(&[("ababac", "H")]), &pieces),
                    expected,
                    "{a} {b}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(
            text in "[ab]{0,40}", secret in "[ab]{1,6}", other in "[ab]{1,9}",
            cuts in proptest::collection::vec(0_usize..40, 0..6),
        ) {
            let pairs = [(secret.as_str(), "<1>"), (other.as_str(), "<2>")];
            let whole = through(mask(&pairs), &[text.as_bytes()]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut at = 0;
            for cut in cuts {
                pieces.push(&text.as_bytes()[at..cut]);
                at = cut;
            }
            pieces.push(&text.as_bytes()[at..]);
            prop_assert_eq!(through(mask(&pairs), &pieces), whole.clone());
            prop_assert!(!whole.contains(&secret) && !whole.contains(&other));
        }

        #[test]
        fn what_holds_no_secret_passes_unchanged(text in "[a-z ]{0,60}") {
            prop_assert_eq!(through(mask(&[("0secret", "H")]), &[text.as_bytes()]), text);
        }
    }
}
