//! A chat between any number of terminals through one stream of a store.
//!
//! ```text
//!   cargo run --release --bin quickstart -- --serve     # in one terminal
//!   cargo run --bin chat -- ada                         # in another
//!   cargo run --bin chat -- björn                       # in a third
//! ```
//!
//! A newcomer is shown what was said before. What is typed is appended; everyone, the writer
//! too, sees it when it comes back from the store.

use std::{error::Error, io::BufRead, time::Duration};

use client::{
    Client, DecodeEvent, EncodeEvent, ExpectedVersion, NewEvent, StoreHandle, SubscribeOptions,
};
use serde::{Deserialize, Serialize};

const STREAM: &str = "chat-room";

#[derive(Serialize, Deserialize)]
struct Said {
    who: String,
    words: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let who = std::env::args().nth(1).ok_or("who are you? cargo run --bin chat -- NAME")?;
    let broker = std::env::var("STARLOG_BROKER");
    let broker = broker.unwrap_or_else(|_| String::from("tcp://127.0.0.1:7400"));
    let store = Client::connect([broker.as_str()])?.store("orders")?;

    let listener = store.clone();
    std::thread::spawn(move || {
        if let Err(error) = listen(&listener) {
            eprintln!("chat: {error}");
        }
    });
    for words in std::io::stdin().lock().lines() {
        let said = Said { who: who.clone(), words: words? };
        let event = NewEvent::json("Said", &said)?;
        store.append(STREAM, ExpectedVersion::Any, vec![event]).wait()?;
    }
    Ok(())
}

/// Prints the room's past and then its present.
fn listen(store: &StoreHandle) -> Result<(), Box<dyn Error>> {
    let partition = store.partition_of(&STREAM.try_into()?);
    let options =
        SubscribeOptions { partitions: Some(vec![partition]), ..SubscribeOptions::default() };
    let mut subscription = store.subscribe(options)?;
    loop {
        let Some(batch) = subscription.next(Duration::from_secs(1))? else { continue };
        for event in batch.events.iter().filter(|event| event.stream.as_str() == STREAM) {
            let said: Said = event.decode()?;
            println!("{}: {}", said.who, said.words);
        }
    }
}
