use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{
    Batch, Client, ClientConfig, DecodeEvent, ErrorCode, ExpectedVersion, Filter, HandOver,
    PartitionNumber, Sequence, StoreHandle, SubscribeOptions, Subscription, SubscriptionError,
};
use store::Durability;
use store::server::admin;

use crate::pair_world::PairWorld;
use crate::world::{PATIENCE, Taking, World, clock, counted, wait_until};

/// The stream of a number: every fourth one is of a cart, all others are of orders.
fn stream(number: u64) -> String {
    let category = if is_of_order(number) { "order" } else { "cart" };
    format!("{category}-{}", number % 20)
}

fn is_of_order(number: u64) -> bool {
    !number.is_multiple_of(4)
}

fn of_orders(numbers: RangeInclusive<u64>) -> Vec<u64> {
    numbers.filter(|number| is_of_order(*number)).collect()
}

fn append(orders: &StoreHandle, numbers: RangeInclusive<u64>) {
    let one = |number| {
        orders.append(stream(number).as_str(), ExpectedVersion::Any, vec![counted(number)])
    };
    for pending in numbers.map(one).collect::<Vec<_>>() {
        pending.wait().unwrap();
    }
}

/// Appends numbers until told to stop; returns the last.
fn load(orders: &StoreHandle, stop: &AtomicBool, pause: Duration) -> u64 {
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        append(orders, last + 1..=last + 16);
        last += 16;
        std::thread::sleep(pause);
    }
    last
}

fn category(name: &str) -> SubscribeOptions {
    SubscribeOptions::default().only(Filter::Category(name.parse().unwrap()))
}

fn of_stream(name: &str) -> SubscribeOptions {
    SubscribeOptions::default().only(Filter::Stream(name.parse().unwrap()))
}

/// What came of a filter: within each partition upwards, nothing twice, nothing else.
#[derive(Default)]
struct Taken {
    places: BTreeMap<PartitionNumber, Sequence>,
    numbers: Vec<u64>,
    /// Batches that only told how far the filter was covered.
    quiet: u64,
}

impl Taking for Taken {
    fn take(&mut self, batch: &Batch) {
        let place = self.places.entry(batch.partition).or_default();
        for event in &batch.events {
            assert!(event.sequence > *place, "{} behind {place}", event.sequence);
            *place = event.sequence;
            self.numbers.push(event.decode().unwrap());
        }
        assert!(batch.position.sequence >= *place, "{batch:?} behind {place}");
        *place = batch.position.sequence;
        self.quiet += u64::from(batch.events.is_empty());
    }

    fn count(&self) -> usize {
        self.numbers.len()
    }
}

impl Taken {
    /// Takes until all partitions together were covered up to these many events.
    fn until_covered(&mut self, subscription: &mut Subscription, events: u64) {
        let started = clock();
        while self.places.values().map(|place| place.0).sum::<u64>() < events {
            assert!(started.elapsed() < PATIENCE, "{:?} of {events}", self.places);
            self.once(subscription);
        }
    }

    /// These numbers came, and those of one stream in their order.
    fn check(&self, expected: &[u64]) {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for number in &self.numbers {
            let before = last.insert(stream(*number), *number);
            assert!(before < Some(*number), "{number} after {before:?}");
        }
        let mut sorted = self.numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
    }
}

#[test]
fn a_category_of_all_partitions_history_then_what_comes() {
    let world = World::start(4);
    let orders = world.orders();
    append(&orders, 1..=400);
    let mut subscription = orders.subscribe(category("order")).unwrap();
    let mut taken = Taken::default();
    taken.until(&mut subscription, 300);
    append(&orders, 401..=800);
    taken.until(&mut subscription, 600);
    taken.check(&of_orders(1..=800));
    assert!(taken.places.len() > 1, "{:?}", taken.places);
    taken.until_covered(&mut subscription, 800);
    let counters = subscription.counters();
    assert_eq!((counters.events, counters.gaps_found, counters.events_lost), (600, 0, 0));
    assert_eq!(counters.duplicates_dropped, 0);
}

#[test]
fn a_checkpoint_of_a_category_moves_on_while_others_are_appended() {
    let world = World::start(1);
    let orders = world.orders();
    let mut subscription = orders.subscribe(category("order")).unwrap();
    append(&orders, 1..=3);
    let mut taken = Taken::default();
    taken.until(&mut subscription, 3);
    for _ in 0..20 {
        orders.append("cart-1", ExpectedVersion::Any, vec![counted(4)]).wait().unwrap();
    }
    taken.until_covered(&mut subscription, 23);
    assert!((1..=20).contains(&taken.quiet), "{} batches", taken.quiet);
    assert_eq!(subscription.counters().gaps_found, 0);
    let checkpoint = subscription.checkpoint().clone();
    drop(subscription);
    // Whoever goes on from there needs no history.
    let mut second =
        orders.subscribe(SubscribeOptions { from: checkpoint, ..category("order") }).unwrap();
    append(&orders, 5..=6);
    let mut rest = Taken::default();
    rest.until(&mut second, 2);
    rest.check(&[5, 6]);
}

#[test]
fn many_splices_of_a_category_under_load() {
    let world = World::start(2);
    let orders = world.orders();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&orders, &stop, Duration::from_millis(1)));
        let subscribers: Vec<_> = (0..10)
            .map(|number| {
                let orders = orders.clone();
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(30 * number));
                    let mut subscription = orders.subscribe(category("order")).unwrap();
                    let mut taken = Taken::default();
                    taken.until(&mut subscription, 600);
                    (subscription, taken)
                })
            })
            .collect();
        let taken: Vec<_> = subscribers.into_iter().map(|it| it.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        let expected = of_orders(1..=load.join().unwrap());
        for (mut subscription, mut taken) in taken {
            taken.until(&mut subscription, expected.len());
            taken.check(&expected);
        }
    });
}

#[test]
fn one_stream_and_nothing_else() {
    let world = World::start(4);
    let orders = world.orders();
    append(&orders, 1..=200);
    let name = "order-7".parse().unwrap();
    let home = orders.partition_of(&name);
    let mut subscription = orders.subscribe(of_stream("order-7")).unwrap();
    let of_stream_7 = |numbers: RangeInclusive<u64>| -> Vec<u64> {
        numbers.filter(|number| number % 20 == 7).collect()
    };
    let mut taken = Taken::default();
    taken.until(&mut subscription, 10);
    append(&orders, 201..=300);
    taken.until(&mut subscription, 15);
    taken.check(&of_stream_7(1..=300));
    assert_eq!(taken.places.keys().collect::<Vec<_>>(), [&home]);

    let elsewhere = PartitionNumber((home.0 + 1) % 4);
    let options = |partitions| SubscribeOptions { partitions, ..of_stream("order-7") };
    assert!(orders.subscribe(options(Some(vec![home]))).is_ok());
    let error = orders.subscribe(options(Some(vec![home, elsewhere]))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::INVALID_ARGUMENT);
    let expected = SubscriptionError::NotInPartition { stream: name, home, partition: elsewhere };
    assert_eq!(error, expected);
}

/// A stream that nobody has written yet, and a category.
#[test]
fn what_does_not_exist_yet_is_waited_for() {
    let world = World::start(2);
    let orders = world.orders();
    append(&orders, 1..=40);
    let mut stream = orders.subscribe(of_stream("new-1")).unwrap();
    let mut of_category = orders.subscribe(category("new")).unwrap();
    let idle = |subscription: &mut Subscription| {
        if let Some(batch) = subscription.next(Duration::from_millis(10)).unwrap() {
            assert!(batch.events.is_empty(), "{batch:?}");
        }
    };
    wait_until("both are proven", || {
        idle(&mut stream);
        idle(&mut of_category);
        stream.caught_up() && of_category.caught_up()
    });
    orders.append("new-1", ExpectedVersion::None, vec![counted(1)]).wait().unwrap();
    for subscription in [&mut stream, &mut of_category] {
        let mut taken = Taken::default();
        taken.until(subscription, 1);
        assert_eq!(taken.numbers, [1]);
    }
}

#[test]
fn lost_messages_of_a_category_are_repaired() {
    let (world, relay) = World::with_relay(2);
    let orders = world.orders();
    let mut subscription = orders.subscribe(category("order")).unwrap();
    append(&orders, 1..=40);
    let mut taken = Taken::default();
    taken.until(&mut subscription, 30);
    relay.lose_every(3);
    let appending = std::thread::spawn({
        let orders = orders.clone();
        move || (41..=1000).step_by(8).for_each(|n| append(&orders, n..=n + 7))
    });
    taken.until(&mut subscription, 750);
    appending.join().unwrap();
    taken.check(&of_orders(1..=1000));
    let counters = subscription.counters();
    assert!(relay.lost() > 0 && counters.gaps_found > 0, "{counters}, lost {}", relay.lost());
    assert_eq!(counters.events_lost, 0);
    // A lost last message shows in the next heartbeat.
    relay.lose_every(1);
    append(&orders, 1001..=1001);
    taken.until(&mut subscription, 751);
    relay.lose_every(0);
    wait_until("the last gap is repaired", || {
        taken.once(&mut subscription);
        let counters = subscription.counters();
        counters.gaps_repaired == counters.gaps_found
    });
}

#[test]
fn a_category_goes_on_when_its_store_comes_back() {
    let mut world = World::start(2);
    let orders = world.orders();
    let mut subscription = orders.subscribe(category("order")).unwrap();
    append(&orders, 1..=100);
    let mut taken = Taken::default();
    taken.until(&mut subscription, 75);
    world.stop_store();
    world.start_store();
    append(&orders, 101..=200);
    taken.until(&mut subscription, 150);
    taken.check(&of_orders(1..=200));
    assert!(subscription.counters().reconnects > 0);
}

#[test]
fn nothing_of_a_category_is_lost_or_doubled_when_leaders_change() {
    let mut world = PairWorld::start(2, Durability::Pair);
    let orders = world.orders();
    let mut subscription = orders.subscribe(category("order")).unwrap();
    let mut of_one = orders.subscribe(of_stream("order-7")).unwrap();
    let (stop, mut taken, mut of_7) = (AtomicBool::new(false), Taken::default(), Taken::default());
    let last = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&orders, &stop, Duration::from_millis(2)));
        taken.until(&mut subscription, 200);
        let wanted = HandOver { store: "orders".to_owned(), partition: None, to: None };
        world.client().hand_over(&wanted, PATIENCE).unwrap();
        taken.more(&mut subscription, 200);
        world.restart_leader(200, |count| {
            taken.more(&mut subscription, count);
            of_7.once(&mut of_one);
        });
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let expected = of_orders(1..=last);
    taken.until(&mut subscription, expected.len());
    taken.check(&expected);
    let expected: Vec<u64> = (1..=last).filter(|number| number % 20 == 7).collect();
    of_7.until(&mut of_one, expected.len());
    of_7.check(&expected);
    let counters = subscription.counters();
    assert!(counters.failovers >= 2 && counters.events_lost == 0, "{counters}");
}

/// The system's own streams are handed out to whoever names them.
#[test]
fn a_system_stream_can_be_followed_by_its_name() {
    let world = PairWorld::start(1, Durability::Pair);
    let orders = world.orders();
    for options in [of_stream("$topology"), category("$topology")] {
        let mut subscription = orders.subscribe(options).unwrap();
        let events = std::iter::repeat_with(|| subscription.next(PATIENCE).unwrap().unwrap());
        let found = events.take(20).find(|batch| !batch.events.is_empty()).unwrap();
        assert!(found.events.iter().all(|event| event.stream.as_str() == "$topology"));
    }
}

#[test]
fn a_rare_category_is_covered_to_the_head() {
    let world = World::start(1);
    let orders = world.orders();
    append(&orders, 1..=2000);
    orders.append("rare-1", ExpectedVersion::None, vec![counted(1)]).wait().unwrap();
    append(&orders, 2001..=3000);
    let mut subscription = orders.subscribe(category("rare")).unwrap();
    let mut taken = Taken::default();
    taken.until_covered(&mut subscription, 3001);
    assert_eq!(taken.numbers, [1]);
    let at = subscription.checkpoint().position(PartitionNumber(0));
    assert_eq!(at.sequence, Sequence(3001));
}

/// Two processes with a partition of `orders` each. The first has the store `users`, too.
struct Apart {
    world: World,
    _stores: [store::server::Handle; 2],
}

impl Apart {
    fn start() -> Self {
        let world = World::without_store(2);
        let _stores = ["0", "1"].map(|name| world.start_store_hosting(name));
        let apart = Self { world, _stores };
        apart.command("add users:1");
        apart
    }

    /// Has the first process do something with a store.
    fn command(&self, line: &str) {
        admin::execute(&self.world.path("0"), &line.parse().unwrap()).unwrap();
    }
}

/// Appends one event when the stream's partition is served.
fn append_one(store: &StoreHandle, stream: &str, number: u64) {
    store.append(stream, ExpectedVersion::Any, vec![counted(number)]).wait().unwrap();
}

#[test]
fn a_detached_partition_falls_silent_and_all_others_go_on() {
    let apart = Apart::start();
    let orders = apart.world.orders();
    let users = apart.world.client().store("users").unwrap();
    let stream_in = |partition: u16| {
        let names = (1..).map(|number| format!("order-{number}"));
        let home = |name: &String| orders.partition_of(&name.parse().unwrap()).0;
        names.into_iter().find(|name| home(name) == partition).unwrap()
    };
    let (here, there) = (stream_in(0), stream_in(1));
    let mut of_both = orders.subscribe(category("order")).unwrap();
    let mut of_here = orders.subscribe(of_stream(&here)).unwrap();
    let mut of_users = users.subscribe(category("order")).unwrap();
    let [mut both, mut one, mut elsewhere] = [(); 3].map(|()| Taken::default());
    append_one(&orders, &here, 1);
    append_one(&orders, &there, 2);
    append_one(&users, "order-1", 3);
    both.until(&mut of_both, 2);
    one.until(&mut of_here, 1);
    elsewhere.until(&mut of_users, 1);

    apart.command("detach orders");
    wait_until("subscribers of its category and its stream notice", || {
        both.once(&mut of_both);
        one.once(&mut of_here);
        of_both.is_silent() && of_here.is_silent()
    });
    append_one(&orders, &there, 4);
    append_one(&users, "order-1", 5);
    both.until(&mut of_both, 3);
    elsewhere.until(&mut of_users, 2);

    apart.command("attach orders");
    append_one(&orders, &here, 6);
    both.until(&mut of_both, 4);
    one.until(&mut of_here, 2);
    let mut numbers = [both, one, elsewhere].map(|taken| taken.numbers);
    numbers[0].sort_unstable();
    assert_eq!(numbers, [vec![1, 2, 4, 6], vec![1, 6], vec![3, 5]]);
    assert!(of_here.counters().reconnects > 0);
}

#[test]
fn history_goes_on_when_its_partition_was_away_in_the_middle_of_it() {
    let world = World::start(1);
    let orders = world.orders();
    append(&orders, 1..=4000);
    // So little credit that most of the history is still to come.
    let config = ClientConfig { read_window_bytes: 4096, ..world.config() };
    let orders = Client::with_config(config).unwrap().store("orders").unwrap();
    let mut subscription = orders.subscribe(category("order")).unwrap();
    let mut taken = Taken::default();
    taken.until(&mut subscription, 1);
    let command =
        |line: &str| admin::execute(&world.path("store"), &line.parse().unwrap()).unwrap();
    command("detach orders");
    wait_until("it notices", || {
        taken.once(&mut subscription);
        subscription.is_silent()
    });
    assert!(taken.numbers.len() < 3000, "all of the history came before");
    command("attach orders");
    taken.until(&mut subscription, 3000);
    taken.check(&of_orders(1..=4000));
}
