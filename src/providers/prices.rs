//! List prices, for when none is configured: so that usage shows a cost and budgets have something
//! to count with. Vendors change theirs; `price` and `llm.prices` in the configuration go first.

use super::knowledge;
use crate::types::money::Price;

/// The day on which the list was made.
pub fn as_of() -> &'static str {
    knowledge::as_of()
}

/// What a vendor asks for a model, if we know it.
pub(super) fn listed(kind: &str, model: &str) -> Option<Price> {
    knowledge::listed(kind, model).price
}
