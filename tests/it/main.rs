//! Integration tests: the real binary and the real router.

mod providers;
mod sandbox;
mod skills;
