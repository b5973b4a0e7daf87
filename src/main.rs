//! The `nexflow` command.

fn main() {}
