//! A category's feed when the lead changes.

use std::collections::BTreeSet;

use store::wire::feed::{FeedKind, Topic};
use store::wire::replay::{Read, ReadSource};
use store::{Filter, Sequence};

use super::super::bench::{Subscriber, read_all};
use super::super::filtered_feeding::Listener;
use super::{Backup, Primary, TestPair, Which};
use crate::fixture::name;

fn category() -> Filter {
    Filter::Category("order".parse().unwrap())
}

/// What a node says that the category has from a place on.
fn history(pair: &TestPair, which: Which, from: u64) -> Vec<u64> {
    let source = ReadSource::Filtered(category());
    pair.replay(which).sequences(Read { from, source, ..read_all() })
}

/// A listener to both nodes misses nothing that it can't see to be missing, and is told in which
/// epoch, and after which cut, it goes on.
#[test]
fn a_category_goes_on_under_the_next_leader() {
    let mut pair = TestPair::start();
    let mut client = pair.around.client();
    client.append(1..5);
    let subscriber = Subscriber::connect(pair.node(Primary).unwrap().feed());
    subscriber.connect_also(pair.node(Backup).unwrap().feed());
    let topic = Topic { store: name("orders"), partition: 0, filter: Some(category()) };
    let mut listener = Listener::new(subscriber, topic);
    let first = listener.message().0;
    client.append(5..20);
    pair.stop(Primary);
    client.append(20..40);
    let (mut seen, mut epoch, mut gaps) = (BTreeSet::new(), first.epoch, 0);
    let newest = *history(&pair, Backup, 1).last().unwrap();
    while listener.position < Sequence(newest) {
        let (header, sequences) = listener.message();
        if header.epoch < epoch {
            continue;
        }
        epoch = header.epoch;
        if header.previous > listener.position {
            gaps += 1;
            seen.extend(history(&pair, Backup, listener.position.next().0));
        }
        seen.extend(sequences);
        listener.position = listener.position.max(header.last);
        assert!(header.cut <= header.last || header.kind == FeedKind::Heartbeat, "{header:?}");
    }
    assert!(epoch > first.epoch && gaps >= 1, "{gaps} gaps, the first before all that was heard");
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), history(&pair, Backup, 1));
    let topology = ReadSource::Filtered(Filter::Category("$topology".parse().unwrap()));
    let places = pair.replay(Backup).sequences(Read { source: topology, ..read_all() });
    assert_eq!(places.len(), 3, "alone, both, the other one alone");
}
