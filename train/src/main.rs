//! `plimsoll`: retrain, check, publish and try limit models from the command line.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
