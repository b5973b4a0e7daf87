//! List prices, for when none is configured: so that usage shows a cost and budgets have something
//! to count with. Vendors change theirs; `price` and `llm.prices` in the configuration go first.

use crate::types::money::{Price, Usd};

/// Kind, beginning of the model's name, and thousandths of a dollar per million tokens: read,
/// written, read from the cache.
type Row = (&'static str, &'static str, i64, i64, i64);

/// When the list was made.
pub const AS_OF: &str = "2025-11";

/// The longest beginning counts.
const LIST: &[Row] = &[
    ("anthropic", "claude-haiku-4-5", 1_000, 5_000, 100),
    ("anthropic", "claude-3-5-haiku", 800, 4_000, 80),
    ("anthropic", "claude-sonnet-4", 3_000, 15_000, 300),
    ("anthropic", "claude-opus-4", 15_000, 75_000, 1_500),
    ("anthropic", "claude-opus-4-5", 5_000, 25_000, 500),
    ("openai", "gpt-4o", 2_500, 10_000, 1_250),
    ("openai", "gpt-4o-mini", 150, 600, 75),
    ("openai", "gpt-4.1", 2_000, 8_000, 500),
    ("openai", "gpt-4.1-mini", 400, 1_600, 100),
    ("openai", "gpt-4.1-nano", 100, 400, 25),
    ("openai", "gpt-5", 1_250, 10_000, 125),
    ("openai", "gpt-5-mini", 250, 2_000, 25),
    ("openai", "gpt-5-nano", 50, 400, 5),
    ("openai", "gpt-5-pro", 15_000, 120_000, 15_000),
    ("openai", "o3", 2_000, 8_000, 500),
    ("openai", "o4-mini", 1_100, 4_400, 275),
    ("gemini", "gemini-2.5-pro", 1_250, 10_000, 125),
    ("gemini", "gemini-2.5-flash", 300, 2_500, 30),
    ("gemini", "gemini-2.5-flash-lite", 100, 400, 10),
];

/// What a vendor asks for a model, if we know it.
pub(super) fn listed(kind: &str, model: &str) -> Option<Price> {
    let rows = LIST
        .iter()
        .filter(|row| row.0 == kind && named(model, row.1));
    let (_, _, input, output, cached) = rows.max_by_key(|row| row.1.len())?;
    let price = |thousandths: &i64| Usd(thousandths * 1_000_000);
    Some(Price {
        input_per_mtok: price(input),
        output_per_mtok: price(output),
        cached_per_mtok: Some(price(cached)),
    })
}

/// The name itself, or with a date after it: `gpt-4o-2024-08-06` is `gpt-4o`, and `o3-pro` is not
/// `o3`.
fn named(model: &str, beginning: &str) -> bool {
    let rest = model.strip_prefix(beginning);
    rest.is_some_and(|rest| {
        let dated = |c: char| c.is_ascii_digit() || c == '-';
        rest.is_empty() || rest == "-latest" || rest.starts_with('-') && rest.chars().all(dated)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_counts_and_unknown_is_unknown() {
        let input = |kind, model| listed(kind, model).map(|price| price.input_per_mtok.to_string());
        let is = |kind, model, price: &str| assert_eq!(input(kind, model).as_deref(), Some(price));
        is("openai", "gpt-4o-2024-08-06", "2.5");
        is("openai", "gpt-4o-mini", "0.15");
        is("anthropic", "claude-sonnet-4-5-20250929", "3.0");
        is("anthropic", "claude-opus-4-5", "5.0");
        is("anthropic", "claude-opus-4-1-20250805", "15.0");
        for (kind, model) in [
            ("openai", "o3-pro"),
            ("openai", "gpt-6"),
            ("custom", "gpt-4o"),
            ("openai", ""),
        ] {
            assert_eq!(input(kind, model), None, "{kind} {model}");
        }
    }
}
