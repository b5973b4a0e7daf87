//! The `nexflow` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all, before there are threads: this process may be a launcher of the sandbox.
    if let Some(code) = nexflow::sandbox::helper(std::env::args_os()) {
        return code;
    }
    ExitCode::SUCCESS
}
