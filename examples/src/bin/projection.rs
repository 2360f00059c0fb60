//! A projection that goes on where it stopped: how large are the events of a store?
//!
//! ```text
//!   cargo run --release --bin quickstart -- --serve     # in one terminal
//!   cargo run --bin projection -- sizes.redb            # in another; Ctrl-C, and start it again
//! ```
//!
//! Documents and checkpoint lie in one file and change in one transaction: however the program
//! ends, each event is counted once.

use std::{collections::BTreeMap, error::Error, time::Duration};

use client::{
    Batch, Client,
    views::{HandleError, HostOptions, Projection, ProjectionHost, StopFlag, ViewBatch, ViewStore},
};

const VIEW: &str = "event-sizes";
const KEY: &str = "distribution";

/// Upper bound of the size in bytes (a power of two, inclusive) -> events.
type Distribution = BTreeMap<u64, u64>;

struct EventSizes;

impl Projection for EventSizes {
    fn name(&self) -> &str {
        VIEW
    }

    fn version(&self) -> u32 {
        1
    }

    fn views(&self) -> &[&str] {
        &[VIEW]
    }

    fn handle(&mut self, batch: &Batch, views: &mut ViewBatch<'_>) -> Result<(), HandleError> {
        // One read and one write per batch, not per event.
        let mut sizes: Distribution = views.get_json(VIEW, KEY)?.unwrap_or_default();
        for event in &batch.events {
            let bytes = u64::try_from(event.data.len())?;
            *sizes.entry(bytes.next_power_of_two()).or_default() += 1;
        }
        Ok(views.put_json(VIEW, KEY, &sizes)?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("where to? cargo run --bin projection -- FILE")?;
    let broker = std::env::var("STARLOG_BROKER");
    let broker = broker.unwrap_or_else(|_| String::from("tcp://127.0.0.1:7400"));
    let store = Client::connect([broker.as_str()])?.store("orders")?;
    let views = ViewStore::open(file)?;
    println!("going on after {} events", distribution(&views)?.values().sum::<u64>());

    let printed = views.clone();
    std::thread::spawn(move || {
        let mut last = None;
        while let Ok(sizes) = distribution(&printed) {
            if last.as_ref() != Some(&sizes) {
                print(&sizes);
                last = Some(sizes);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    let host = ProjectionHost::new(store, views, HostOptions::default());
    // `starlog doctor` asks for this when it looks for projections that are stuck.
    let _told = host.tell_progress(VIEW)?;
    host.run(&mut EventSizes, &StopFlag::new())?;
    Ok(())
}

fn distribution(views: &ViewStore) -> Result<Distribution, Box<dyn Error>> {
    let Some(document) = views.get(VIEW, KEY)? else { return Ok(Distribution::new()) };
    Ok(serde_json::from_slice(&document.data)?)
}

fn print(sizes: &Distribution) {
    let events: u64 = sizes.values().sum();
    println!("{events} events");
    for (bound, count) in sizes {
        let width = usize::try_from(count * 50 / events.max(1)).unwrap_or(0);
        println!("  up to {bound:>7} bytes {count:>9} {}", "#".repeat(width));
    }
}
