//! The command line of `quickstart`: what was typed, and what it means.

use std::{io, ops::RangeInclusive, path::PathBuf};

use broker::net::Endpoint;
use clap::Parser;
use store::{Durability, server::units::parse_size};

use crate::{
    dump::Dump,
    faults::Schedule,
    quickstart::{Run, RunError, Workload, commands, progress::Progress, serve},
    topology::{TopologyConfig, TopologyError},
};

/// Which partitions each of the two pairs hosts.
const HOSTED: [RangeInclusive<u16>; 2] = [0..=1, 2..=3];

/// Starts a broker that is a witness, two pairs of stores and two projection hosts, appends a data
/// set while some of them are killed, and proves that nothing was lost, doubled or altered. Then it
/// sends commands through Titanic while nobody is there for them.
#[derive(Debug, Parser)]
#[command(name = "quickstart", version)]
pub struct Flags {
    /// Folder for everything that is written [default: a new temporary one, kept]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Events of the built-in data set
    #[arg(long, value_name = "N", default_value_t = 120_000)]
    events: u64,
    /// Which data set and which lost messages; the same number gives the same events
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Read a Stack Exchange dump (Users, Posts, Comments, Badges .xml) instead
    #[arg(long, value_name = "DIR", conflicts_with = "events")]
    dump: Option<PathBuf>,
    /// Stay up afterwards, for use with `starlog`
    #[arg(long)]
    serve: bool,
    /// Where the broker listens [default: a free port; with --serve tcp://127.0.0.1:7400]
    #[arg(long, value_name = "ENDPOINT")]
    listen: Option<Endpoint>,
    /// Lose about one feed message with records in N on purpose; 0 loses none
    #[arg(long, value_name = "N", default_value_t = 40)]
    drop_one_in: u64,
    /// Length of the stores' segment files
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = segment_bytes)]
    segment: u32,
    /// Nodes that keep each partition: 2 are a pair, 1 stands alone
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = copies)]
    copies: usize,
    /// So many random kills and stops, drawn from the seed [default: one host, one leader killed]
    #[arg(long, value_name = "N")]
    faults: Option<usize>,
}

fn segment_bytes(text: &str) -> Result<u32, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    u32::try_from(bytes).map_err(|_| String::from("a segment is smaller than 4GiB"))
}

fn copies(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err(String::from("1 or 2")),
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every promise was kept.
    Sound,
    /// The report names what was not.
    Failed,
}

impl Flags {
    /// Does what was asked for and prints the report.
    ///
    /// # Errors
    /// [`RunError`] if it does not come to a report, or the children do not end well.
    pub fn run(self) -> Result<Ending, RunError> {
        let serve = self.serve;
        let mut progress = Progress::new();
        let run = self.into_run(&progress)?;
        let (report, mut topology) = run.execute(&mut progress)?;
        let (commands, mut titanic) = commands::run(&mut topology, &progress)?;
        println!("{report}{commands}");
        let sound = report.failures().is_empty() && commands.failures().is_empty();
        if serve && sound {
            serve::until_stopped(&mut topology, &mut titanic)?;
        }
        titanic.stop().map_err(TopologyError::from)?;
        topology.stop()?;
        Ok(if sound { Ending::Sound } else { Ending::Failed })
    }

    fn into_run(self, progress: &Progress) -> Result<Run, RunError> {
        let workload = match &self.dump {
            None => Workload::Orders { events: self.events, seed: self.seed },
            Some(folder) => Workload::Dump(read_dump(folder.clone(), progress)?),
        };
        let schedule = match self.faults {
            None => Schedule::demonstration(workload.events()),
            Some(count) => Schedule::random(self.seed, (workload.events(), count), self.copies),
        };
        let program = std::env::current_exe().map_err(failed("this program has no path"))?;
        let listen = match (self.listen, self.serve) {
            (Some(endpoint), _) => endpoint,
            (None, true) => "tcp://127.0.0.1:7400".parse()?,
            (None, false) => "tcp://127.0.0.1:*".parse()?,
        };
        // With faults one after the other a pair that waits longer each time never gets whole.
        let store_flags = match self.faults {
            Some(_) => ["--grow-backoff", "0s"].map(String::from).to_vec(),
            None => Vec::new(),
        };
        let topology = TopologyConfig {
            program,
            data: data_folder(self.data)?,
            listen,
            brokers: 1,
            hosted: HOSTED.to_vec(),
            copies: self.copies,
            durability: if self.copies == 1 { Durability::Local } else { Durability::Pair },
            commands: true,
            links: false,
            store_flags,
            seed: self.seed,
            drop_one_in: self.drop_one_in,
            segment_bytes: self.segment,
            projections: workload.projections(),
        };
        Ok(Run { topology, workload, schedule })
    }
}

fn read_dump(folder: PathBuf, progress: &Progress) -> Result<Dump, RunError> {
    let dump = Dump::read(&folder)?;
    for source in &dump.missing {
        progress.say(&format!("{} is not there: skipped", source.file_name()));
    }
    for file in dump.files.iter().filter(|file| file.skipped > 0) {
        let name = file.source.file_name();
        progress.say(&format!("{name}: {} rows without id, time or owner", file.skipped));
    }
    Ok(dump)
}

/// The folder that was given, or a new temporary one that stays. Absolute: children are told.
fn data_folder(given: Option<PathBuf>) -> Result<PathBuf, RunError> {
    match given {
        Some(folder) => std::fs::create_dir_all(&folder)
            .and_then(|()| folder.canonicalize())
            .map_err(failed("the folder given with --data cannot be used")),
        None => {
            let folder = tempfile::Builder::new().prefix("starlog-quickstart-").tempdir();
            folder.map(tempfile::TempDir::keep).map_err(failed("no temporary folder"))
        }
    }
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> RunError {
    let what = what.to_owned();
    move |reason| RunError::Io { what, reason }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Flags::command().debug_assert();
        let typed = ["quickstart", "--dump", "x", "--events", "5"];
        assert!(Flags::try_parse_from(typed).is_err(), "a dump has its own number of events");
        let bad_endpoint = ["quickstart", "--listen", "7400"];
        assert!(Flags::try_parse_from(bad_endpoint).is_err());
    }

    #[test]
    fn a_plain_run_has_enough_events_and_free_ports() {
        let flags = Flags::try_parse_from(["quickstart"]).unwrap();
        let run = flags.into_run(&Progress::new()).unwrap();
        assert!(run.workload.events() >= 100_000);
        assert_eq!(run.topology.listen.as_str(), "tcp://127.0.0.1:*");
        assert_eq!(run.schedule.faults().len(), 2);
        std::fs::remove_dir(run.topology.data).unwrap();
    }
}
