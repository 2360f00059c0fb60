//! Starlog in one command: `cargo run --release --bin quickstart`.
//!
//! Exit codes: 0 every promise was kept, 1 something was not or could not be started, 2 usage.

use std::process::ExitCode;

use clap::Parser;
use starlog_examples::{
    quickstart::flags::{Ending, Flags},
    roles,
};

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    // The topology's child processes are this program too, started with `--as ROLE`.
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let outcome = match arguments.next() {
        Some(flag) if flag == "--as" => {
            roles::run(&program, arguments).map_err(|error| error.to_string())
        }
        _ => match Flags::parse().run() {
            Ok(Ending::Sound) => Ok(()),
            Ok(Ending::Failed) => return ExitCode::FAILURE,
            Err(error) => Err(error.to_string()),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}
