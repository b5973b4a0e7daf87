//! Runs executable skills, each confined to what it was granted.
