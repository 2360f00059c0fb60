//! `starlog`: the command-line tool for people.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(command_line) => cli::run(command_line),
        Err(ended) => ended.print(),
    }
}
