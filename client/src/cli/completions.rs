//! `starlog completions`.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::{Shell as Generator, generate};

use crate::cli::failure::Stop;
use crate::cli::flags::{CommandLine, CompletionsFlags, Shell};

/// Prints a script that completes command lines of this tool.
///
/// # Errors
/// [`Stop`] when it can't be written.
pub fn run(flags: &CompletionsFlags) -> Result<(), Stop> {
    let written = io::stdout().lock().write_all(&script(flags.shell));
    written.map_err(|error| Stop::of_output(&error))
}

fn script(shell: Shell) -> Vec<u8> {
    let generator = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut command = CommandLine::command();
    let name = command.get_name().to_owned();
    // Into memory, because the generator panics if its output can't be written.
    let mut script = Vec::new();
    generate(generator, &mut command, name, &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for command in CommandLine::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell:?}: {}", command.get_name());
            }
            assert!(script.contains("timeout"), "{shell:?}");
        }
    }
}
