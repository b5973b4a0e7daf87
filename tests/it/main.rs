//! Integration tests: the real binary and the real router.

mod cli;
mod providers;
mod sandbox;
