//! How long a recording lasts, read from its file: transcription is sold by the minute.

/// Bytes a second of the thinnest speech there is: Opus at 6 kbit/s. A file that says nothing lasts no
/// longer than this.
const THINNEST: u64 = 750;
/// Bytes a second that no speech needs: Opus at 510 kbit/s. A file lasts at least this long, whatever it
/// says.
const THICKEST: u64 = 64_000;
/// Samples a second that the pages of an Opus file count, whatever it was recorded at (RFC 7845, 4).
const OPUS: u64 = 48_000;

/// Tenths of a second, rounded up; where a file does not say, the most that fit its size.
pub(super) fn tenths(data: &[u8]) -> u64 {
    let bytes = data.len() as u64;
    let told = ogg(data).or_else(|| wave(data));
    let least = (bytes * 10).div_ceil(THICKEST);
    told.unwrap_or_else(|| (bytes * 10).div_ceil(THINNEST))
        .max(least)
}

/// Ogg's last page says how many samples there are (RFC 3533, 6).
fn ogg(data: &[u8]) -> Option<u64> {
    if !data.starts_with(b"OggS") {
        return None;
    }
    let head = data.get(..data.len().min(256))?;
    let rate = match find(head, b"OpusHead") {
        Some(_) => OPUS,
        // Version and channels stand before the rate.
        None => u64::from(number(head, find(head, b"\x01vorbis")? + 12)?),
    };
    let last = data.windows(4).rposition(|four| four == b"OggS")?;
    let samples = data.get(last + 6..last + 14)?.try_into().ok()?;
    let samples = i64::from_le_bytes(samples);
    // On a page where no packet ends it is -1.
    let samples = u64::try_from(samples).ok()?;
    Some(samples.checked_mul(10)?.div_ceil(rate.max(1)))
}

/// A WAVE file's second field of rates counts bytes.
fn wave(data: &[u8]) -> Option<u64> {
    let head = data.get(..data.len().min(256))?;
    if !head.starts_with(b"RIFF") || head.get(8..12)? != b"WAVE" {
        return None;
    }
    let rate = number(head, find(head, b"fmt ")? + 16)?;
    Some((data.len() as u64 * 10).div_ceil(u64::from(rate.max(1))))
}

fn find(in_: &[u8], what: &[u8]) -> Option<usize> {
    in_.windows(what.len()).position(|part| part == what)
}

fn number(data: &[u8], at: usize) -> Option<u32> {
    let four = data.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(four))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(samples: i64, payload: &[u8]) -> Vec<u8> {
        let mut page = b"OggS\x00\x00".to_vec();
        page.extend(samples.to_le_bytes());
        page.extend([0; 13]);
        page.extend(payload);
        page
    }

    #[test]
    fn a_file_says_how_long_it_is() {
        let mut note = page(0, b"OpusHead\x01\x01");
        note.extend(page(48_000, &[7; 4000]));
        note.extend(page(48_000 * 3 + 1, &[7; 4000]));
        assert_eq!(tenths(&note), 31);

        let mut note = page(0, b"\x01vorbis\0\0\0\0\x01\x44\xac\0\0");
        note.extend(page(44_100 * 2, &[7; 9000]));
        assert_eq!(tenths(&note), 20);

        let mut wave = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        wave.extend(8000_u32.to_le_bytes());
        wave.extend(16_000_u32.to_le_bytes());
        wave.resize(32_000, 0);
        assert_eq!(tenths(&wave), 20);
    }

    #[test]
    fn one_that_does_not_say_or_lies_counts_on_the_safe_side() {
        assert_eq!(tenths(&[1; 7500]), 100);
        let mut short = page(0, b"OpusHead");
        short.extend(page(1, &vec![7; 640_000]));
        assert!(tenths(&short) >= 100);
        let mut unsaid = page(0, b"OpusHead");
        unsaid.extend(page(-1, &[7; 7_500]));
        assert!(tenths(&unsaid) >= 100);
    }

    proptest! {
        #[test]
        fn any_file_has_a_length(head in 0..4_usize, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let heads: [&[u8]; 4] = [b"", b"OggS", b"OggSOpusHead", b"RIFF\0\0\0\0WAVEfmt "];
            let mut data = heads[head].to_vec();
            data.extend(rest);
            prop_assert!(data.is_empty() || tenths(&data) > 0);
        }
    }
}
