//! A Majordomo service in ten lines: it answers every request with the request itself.
//!
//! ```text
//!   cargo run --release --bin quickstart -- --serve     # in one terminal
//!   cargo run --bin mdp_worker                          # in another
//! ```
//!
//! Any MDP/0.1 or MDP/0.2 client can now call service `echo` at tcp://127.0.0.1:7400.

use broker::mdp::{Worker, WorkerConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = std::env::var("STARLOG_BROKER");
    let broker = broker.unwrap_or_else(|_| String::from("tcp://127.0.0.1:7400"));
    let mut worker = Worker::ready(WorkerConfig::new(broker.parse()?, "echo"))?;
    loop {
        let job = worker.receive()?;
        let answer = job.body.clone();
        worker.reply(job, answer)?;
    }
}
