//! Commands for a worker that may be away: send them, go away, come back for the replies.
//!
//! ```text
//!   cargo run --release --bin quickstart -- --serve     # in one terminal
//!   cargo run --bin commands -- letter hello world      # in another: kept, but nobody answers
//!   cargo run --bin mdp_worker                          # in a third: now somebody does
//!   cargo run --bin commands -- letter hello world      # again: the same commands, their replies
//! ```
//!
//! Each word is a command for the service `echo`. Its id follows from the name of the letter and
//! the place of the word, so a second run sends nothing twice; it fetches what is there, and closes
//! what it has fetched.

use std::{error::Error, time::Duration};

use client::{
    Client,
    command::{CommandError, CommandId, CommandReply, NewCommand},
};
use uuid::Uuid;

/// Where the ids of this program's commands are derived from.
const NAMESPACE: Uuid = uuid::uuid!("5b1d2f0e-6a0c-4d43-9f0b-0c5a3f7e9a11");
const WAIT: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let letter = arguments.next().ok_or("cargo run --bin commands -- LETTER WORD…")?;
    let broker = std::env::var("STARLOG_BROKER");
    let broker = broker.unwrap_or_else(|_| String::from("tcp://127.0.0.1:7400"));
    let commands = Client::connect([broker.as_str()])?.commands();

    let words: Vec<(CommandId, String)> = arguments
        .enumerate()
        .map(|(place, word)| (CommandId::derived(NAMESPACE, &format!("{letter}/{place}")), word))
        .collect();
    let command = |(id, word): &(CommandId, String)| {
        commands.submit(NewCommand::new("echo", vec![word.clone().into()]).with_id(*id))
    };
    for sent in words.iter().map(command).collect::<Vec<_>>() {
        println!("kept: {}", sent.wait()?);
    }
    for (id, word) in words {
        match commands.reply(id, WAIT) {
            Ok(CommandReply::Done(frames)) => {
                println!("{word}: {}", String::from_utf8_lossy(&frames.concat()));
                commands.close(id)?;
            }
            Ok(CommandReply::Pending) => println!("{word}: no reply yet, come back later"),
            Err(CommandError::Closed { .. }) => println!("{word}: closed by an earlier run"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
