//! `starlog-titanic`: refuses to start until it can keep what it accepts.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("{}", starlog_titanic::NOT_YET);
    ExitCode::from(starlog_titanic::EXIT_UNAVAILABLE)
}
