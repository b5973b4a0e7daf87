//! Integration tests: the real binary and the real router.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::cognitive_complexity,
    clippy::excessive_nesting,
    clippy::format_collect,
    clippy::assigning_clones,
    reason = "tests fail where they stand, and tell a whole story"
)]
#![expect(unreachable_pub, reason = "helpers of tests are seen by tests alone")]

mod approvals;
mod audit;
mod by_hand;
mod chat;
mod cli;
mod config;
mod delivery;
mod discord;
mod disk;
mod dojo;
mod doors;
mod files;
mod flow;
mod kill;
mod models;
mod money;
mod parked;
mod peers;
mod people;
mod providers;
mod restart;
mod routing;
mod sandbox;
mod skills;
mod support;
mod stops;
mod telegram;
mod tidy;
mod turns;
mod voices;
mod webhook;
