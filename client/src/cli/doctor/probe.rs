//! What users do, tried: reading a partition and a stream of it, and hearing its feed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use broker::net;
use client::{
    Client, Direction, Endpoint, MemberTopology, PartitionNumber, ReadAllOptions, ReadError,
    ReadOptions, Status, StoreHandle, StoreName,
};
use store::wire::feed::Topic;

use crate::cli::failure::Failure;

/// How long a feed may take to answer a subscription, which it does at once.
const FEED_WAIT_MAX: Duration = Duration::from_secs(3);
/// Most records looked through for one that is not the system's.
const RECORDS_MAX: u64 = 64;

/// One partition with a leader that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its name, as `orders/0`.
    pub partition: String,
    /// Its feed.
    pub feed: String,
    /// Whether its newest event could be read, by its place in the log and by its stream.
    pub read: Result<(), ReadError>,
    /// Whether the feed has answered a subscription.
    pub feed_heard: bool,
}

/// Tries every partition whose leader answers; about the others enough is known.
///
/// # Errors
/// [`Failure`] when this process can't make a socket.
pub fn probe_all(
    client: &Client,
    status: &Status,
    timeout: Duration,
) -> Result<Vec<Probe>, Failure> {
    let answers = |endpoint: &str| {
        let process = status.processes.iter().find(|process| process.endpoint == endpoint);
        process.is_some_and(|process| process.answer.is_ok())
    };
    let mut probes = Vec::new();
    let mut topics = Vec::new();
    for store in &status.topology.stores {
        let Ok(name) = StoreName::new(&store.name) else { continue };
        // The broker knows the store, so this finds it unless it goes this very moment.
        let Ok(handle) = client.store(name.as_str()) else { continue };
        let leaders = (0..store.partitions).filter_map(|partition| store.leader(partition));
        for MemberTopology { partition, feed, .. } in leaders.filter(|it| answers(&it.replay)) {
            topics.push((
                Topic { store: name.clone(), partition: *partition, filter: None },
                feed.clone(),
            ));
            probes.push(Probe {
                partition: format!("{name}/{partition}"),
                feed: feed.clone(),
                read: read_newest(&handle, PartitionNumber(*partition)),
                feed_heard: false,
            });
        }
    }
    let heard = heard_feeds(&topics, timeout.min(FEED_WAIT_MAX));
    let heard = heard.map_err(|error| Failure::system("can't make a socket", &error.into()))?;
    for (probe, (topic, _)) in probes.iter_mut().zip(&topics) {
        probe.feed_heard = heard.contains(topic);
    }
    Ok(probes)
}

/// Reads the newest event by its place in the log, then by its stream, which needs the index.
fn read_newest(store: &StoreHandle, partition: PartitionNumber) -> Result<(), ReadError> {
    let newest = ReadAllOptions {
        direction: Direction::Backward,
        limit: Some(RECORDS_MAX),
        ..ReadAllOptions::default()
    };
    let Some(event) = store.read_all(partition, newest).next().transpose()? else { return Ok(()) };
    store.read_stream(event.stream, ReadOptions::last()).next().transpose().map(|_| ())
}

/// Topics that were answered, each asked for at its feed.
fn heard_feeds(
    topics: &[(Topic, String)],
    patience: Duration,
) -> Result<BTreeSet<Topic>, zmq::Error> {
    let context = zmq::Context::new();
    let socket = net::socket(&context, zmq::SUB)?;
    let feeds: BTreeSet<&String> = topics.iter().map(|(_, feed)| feed).collect();
    for feed in feeds {
        // A feed that can't even be connected to stays silent, and is reported as that.
        if let Ok(endpoint) = feed.parse::<Endpoint>() {
            let _ = net::connect(&socket, &endpoint);
        }
    }
    for (topic, _) in topics {
        socket.set_subscribe(&topic.encode())?;
    }
    let mut heard = BTreeSet::new();
    let deadline = now() + patience;
    while heard.len() < topics.len() {
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            break;
        }
        net::poll(&mut [socket.as_poll_item(zmq::POLLIN)], Some(left))?;
        while let Some(frames) = net::receive(&socket)? {
            heard.extend(frames.first().and_then(|topic| Topic::decode(topic).ok()));
        }
    }
    Ok(heard)
}

#[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
fn now() -> Instant {
    Instant::now()
}
