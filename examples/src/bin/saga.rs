//! A saga: whoever speaks for the first time in the chat is welcomed by a command, once.
//!
//! ```text
//!   cargo run --release --bin quickstart -- --serve     # in one terminal
//!   cargo run --bin saga -- welcome.redb                # in another; Ctrl-C, and start it again
//!   cargo run --bin chat -- ada                         # in a third: say something
//!   cargo run --release --bin starlog -- command list   # the welcome, until a worker takes it
//! ```
//!
//! Whom it has welcomed lies in one file with how far it is in the log, and both change only when
//! the commands are accepted. However the program ends, nobody is welcomed twice.

use std::error::Error;

use client::{
    Client, DecodeEvent,
    command::NewCommand,
    saga::{Reaction, Saga, SagaHost},
    views::{HandleError, HostOptions, StopFlag, ViewStore},
};
use serde::Deserialize;

const VIEW: &str = "welcomed";
const STREAM: &str = "chat-room";

struct Welcome;

#[derive(Deserialize)]
struct Said {
    who: String,
}

impl Saga for Welcome {
    fn name(&self) -> &str {
        "welcome"
    }

    fn views(&self) -> &[&str] {
        &[VIEW]
    }

    fn react(&mut self, reaction: &mut Reaction<'_, '_>) -> Result<(), HandleError> {
        if reaction.event().stream.as_str() != STREAM {
            return Ok(());
        }
        let Said { who } = reaction.event().decode()?;
        if reaction.views().get(VIEW, &who)?.is_none() {
            let command = NewCommand::new("echo", vec![format!("welcome, {who}").into()]);
            let id = reaction.send(command);
            println!("{who} is welcomed by command {id}");
            reaction.views().put(VIEW, &who, id.to_string().as_bytes())?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("where to? cargo run --bin saga -- FILE")?;
    let broker = std::env::var("STARLOG_BROKER");
    let broker = broker.unwrap_or_else(|_| String::from("tcp://127.0.0.1:7400"));
    let store = Client::connect([broker.as_str()])?.store("orders")?;
    let host = SagaHost::new(store, ViewStore::open(file)?, HostOptions::default());
    host.run(&mut Welcome, &StopFlag::new())?;
    Ok(())
}
