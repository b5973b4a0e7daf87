//! Integration tests: the real binary and the real router.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests fail where they stand"
)]
#![expect(unreachable_pub, reason = "helpers of tests are seen by tests alone")]

mod chat;
mod cli;
mod config;
mod doors;
mod peers;
mod providers;
mod restart;
mod sandbox;
mod skills;
mod support;
mod tidy;
mod webhook;
