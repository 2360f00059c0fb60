//! The tool, from the command line to the exit code.
//!
//! ```text
//!  argv ──► flags (what was typed) ──► a command: request, then work ──► output (stdout)
//!               │ usage                              │ Failure
//!               └────────────► failure (stderr), exit (code) ◄──┘
//! ```
//!
//! Standard output carries data only. Everything else, errors first of all, goes to standard
//! error.

mod append;
mod bench;
mod brokers;
mod command;
mod completions;
mod doctor;
mod exit;
mod export;
mod failure;
mod flags;
mod import;
mod output;
mod pair;
mod read;
mod replay;
mod selection;
mod session;
mod status;
mod tail;
mod topology;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use failure::{Failure, Stop};
use flags::{Command, CommandLine, Format, GlobalFlags};
use session::Session;

/// A command line that runs no command: it is wrong, or asks for help.
pub struct Ended {
    error: clap::Error,
    format: Format,
}

/// Reads the command line.
///
/// # Errors
/// [`Ended`] when there is nothing to run.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<CommandLine, Ended> {
    let arguments: Vec<OsString> = arguments.collect();
    CommandLine::try_parse_from(&arguments)
        .map_err(|error| Ended { error, format: format_asked_for(&arguments) })
}

impl Ended {
    /// Prints the help or what is wrong.
    #[must_use]
    pub fn print(self) -> ExitCode {
        if self.error.use_stderr() && self.format != Format::Table {
            let text = self.error.render().to_string();
            let sentence = text.trim_start_matches("error: ").trim_end();
            eprintln!("{}", Failure::usage(sentence).print(self.format));
        } else {
            // There is nobody left to tell when the terminal is gone.
            let _ = self.error.print();
        }
        ExitCode::from(if self.error.use_stderr() { exit::USAGE } else { exit::OK })
    }
}

/// The form of errors when the command line could not be read as a whole.
fn format_asked_for(arguments: &[OsString]) -> Format {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let pairs = words.windows(2).filter_map(|pair| match *pair {
        ["-o" | "--output", form] => Some(form),
        _ => None,
    });
    let joined = words
        .iter()
        .filter_map(|word| word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")));
    for form in pairs.chain(joined) {
        match form.trim_start_matches('=') {
            "json" => return Format::Json,
            "ndjson" => return Format::Ndjson,
            _ => {}
        }
    }
    Format::Table
}

/// Runs the command and says how it ended.
#[must_use]
pub fn run(command_line: CommandLine) -> ExitCode {
    let CommandLine { global, command } = command_line;
    start_log(&global);
    let format = global.output;
    match dispatch(global, command) {
        Ok(()) | Err(Stop::OutputClosed) => ExitCode::from(exit::OK),
        Err(Stop::Found(code)) => ExitCode::from(code),
        Err(Stop::Failed(failure)) => {
            eprintln!("{}", failure.print(format));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(global: GlobalFlags, command: Command) -> Result<(), Stop> {
    let session = Session::new(global);
    match command {
        Command::Append(flags) => append::run(&session, flags),
        Command::Read(flags) => read::run(&session, &flags),
        Command::Replay(flags) => replay::run(&session, &flags),
        Command::Tail(flags) => tail::run(&session, &flags),
        Command::Import(flags) => import::run(&session, &flags),
        Command::Export(flags) => export::run(&session, &flags),
        Command::Status(flags) => status::run(&session, &flags),
        Command::Topology(_) => topology::run(&session),
        Command::Doctor(_) => doctor::run(&session),
        Command::Pair(command) => pair::run(&session, command),
        Command::Commands(verb) => command::run(&session, verb),
        Command::Verify(flags) => verify::run(&session, &flags),
        Command::Bench(command) => bench::run(&session, command),
        Command::Completions(flags) => completions::run(&flags),
    }
}

/// Logs warnings to standard error; `-v` adds to that and `-q` leaves errors only. Frames are
/// printed with `--trace` and only then.
fn start_log(global: &GlobalFlags) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => log::LevelFilter::Error,
        (false, 0) => log::LevelFilter::Warn,
        (false, 1) => log::LevelFilter::Info,
        (false, 2) => log::LevelFilter::Debug,
        (false, _) => log::LevelFilter::Trace,
    };
    let frames = if global.trace { log::LevelFilter::Trace } else { log::LevelFilter::Off };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).filter_module(client::FRAMES_LOG_TARGET, frames);
    if global.trace {
        builder.format_timestamp_micros();
    }
    builder.init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_errors_is_found_in_a_broken_command_line() {
        let rows: [(&[&str], Format); 6] = [
            (&["starlog", "--nonsense"], Format::Table),
            (&["starlog", "-o", "json", "--nonsense"], Format::Json),
            (&["starlog", "--output", "ndjson"], Format::Ndjson),
            (&["starlog", "--output=json"], Format::Json),
            (&["starlog", "-ojson"], Format::Json),
            (&["starlog", "-o", "table"], Format::Table),
        ];
        for (words, format) in rows {
            let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(format_asked_for(&arguments), format, "{words:?}");
        }
    }
}
