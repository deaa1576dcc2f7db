//! `plimsoll-serve`: the issuer from the command line.

mod cli;

/// Requests are made of many short-lived pieces: with the system's allocator a tenth of the time went into it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
