//! The `nexflow` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The sandbox starts this program again as its launcher: first of all, before any thread exists.
    if let Some(code) = nexflow::sandbox::helper(std::env::args_os()) {
        return code;
    }
    nexflow::cli::main()
}
