//! Integration tests: the real binary and the real router.

mod sandbox;
