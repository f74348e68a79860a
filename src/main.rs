//! Hands over to [`tollgate::cli`] and turns its result into an exit code.

use std::io::Write;
use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request makes about a hundred small allocations, at which the C library's allocator is slow.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tollgate::cli::run().unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "tollgate: {error:#}");
        ExitCode::FAILURE
    })
}
