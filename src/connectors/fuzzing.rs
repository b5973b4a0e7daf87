//! What the fuzzers feed: any bytes as what platforms send.

/// Any bytes as what the gateway of Discord sends: read, and put in words.
pub(crate) fn discord(bytes: &[u8]) {
    super::discord::fuzz(bytes);
}

/// Any bytes as updates of Telegram.
pub(crate) fn telegram(bytes: &[u8]) {
    super::telegram::fuzz(bytes);
}
