//! Hands over to [`tollgate::cli`] and turns its result into an exit code.

use std::io::Write;
use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request makes a hundred small allocations, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tollgate::cli::run().unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "tollgate: {error:#}");
        ExitCode::FAILURE
    })
}
