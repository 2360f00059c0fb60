use std::collections::BTreeMap;
use std::time::Duration;

use client::views::{
    HandleError, HostError, HostOptions, OnChanged, Projection, ProjectionHost, StopFlag,
    ViewBatch, ViewError, ViewStore,
};
use client::{Batch, Checkpoint, DecodeEvent, ExpectedVersion, Filter, StoreHandle};

use crate::world::{World, counted, wait_until};

/// Sum and count of the numbers in each stream.
struct Sums {
    version: u32,
    /// Fails at this number, to end a host in the middle of a transaction.
    fail_at: Option<u64>,
}

impl Projection for Sums {
    fn name(&self) -> &str {
        "sums"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn views(&self) -> &[&str] {
        &["sums"]
    }

    fn handle(&mut self, batch: &Batch, views: &mut ViewBatch<'_>) -> Result<(), HandleError> {
        for event in &batch.events {
            let number: u64 = event.decode()?;
            if self.fail_at == Some(number) {
                return Err("this number is not liked".into());
            }
            let key = event.stream.as_str();
            let (sum, count) = views.get_json::<(u64, u64)>("sums", key)?.unwrap_or_default();
            views.put_json("sums", key, &(sum + number, count + 1))?;
        }
        Ok(())
    }
}

fn sums() -> Sums {
    Sums { version: 1, fail_at: None }
}

fn append(orders: &StoreHandle, numbers: std::ops::RangeInclusive<u64>) {
    let one = |number| {
        let stream = format!("order-{}", number % 7);
        orders.append(stream.as_str(), ExpectedVersion::Any, vec![counted(number)])
    };
    for pending in numbers.map(one).collect::<Vec<_>>() {
        pending.wait().unwrap();
    }
}

/// Runs the projection until it has handled everything up to now.
fn run_until(orders: &StoreHandle, views: &ViewStore, total: u64, projection: &mut Sums) {
    let host = ProjectionHost::new(orders.clone(), views.clone(), HostOptions::default());
    let (progress, stop) = (host.progress(), StopFlag::new());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| host.run(projection, &stop));
        wait_until("the projection is there", || reached(&progress.counters().checkpoint) >= total);
        stop.stop();
        let counters = running.join().unwrap().unwrap();
        assert_eq!(counters.subscription.events_lost, 0);
    });
}

fn reached(checkpoint: &Checkpoint) -> u64 {
    checkpoint.0.values().map(|position| position.sequence.0).sum()
}

fn documents(views: &ViewStore) -> BTreeMap<String, (u64, u64)> {
    let found = views.list("sums", None, 100).unwrap();
    let parse = |(key, document): (String, client::views::Document)| {
        (key, serde_json::from_slice(&document.data).unwrap())
    };
    found.into_iter().map(parse).collect()
}

fn expected(last: u64) -> BTreeMap<String, (u64, u64)> {
    let mut sums = BTreeMap::new();
    for number in 1..=last {
        let sum: &mut (u64, u64) = sums.entry(format!("order-{}", number % 7)).or_default();
        *sum = (sum.0 + number, sum.1 + 1);
    }
    sums
}

#[test]
fn every_event_takes_effect_once_across_restarts() {
    let world = World::start(2);
    let orders = world.orders();
    let views = ViewStore::open(world.path("views.redb")).unwrap();
    append(&orders, 1..=200);
    run_until(&orders, &views, 200, &mut sums());
    assert_eq!(documents(&views), expected(200));
    append(&orders, 201..=300);
    // This run fails on the way; nothing of the open transaction may stay.
    let host = ProjectionHost::new(orders.clone(), views.clone(), HostOptions::default());
    let error = host.run(&mut Sums { version: 1, fail_at: Some(250) }, &StopFlag::new());
    assert!(matches!(error, Err(HostError::Handle { .. })));
    let at_failure = views.checkpoint("sums").unwrap();
    let handled = documents(&views).values().map(|(_, count)| count).sum::<u64>();
    assert_eq!(handled, reached(&at_failure), "documents and checkpoint are of one moment");
    drop((host, views));
    let views = ViewStore::open(world.path("views.redb")).unwrap();
    run_until(&orders, &views, 300, &mut sums());
    assert_eq!(documents(&views), expected(300));
}

#[test]
fn a_changed_projection_makes_its_views_anew() {
    let world = World::start(1);
    let orders = world.orders();
    let views = ViewStore::open(world.path("views.redb")).unwrap();
    append(&orders, 1..=50);
    run_until(&orders, &views, 50, &mut sums());
    views.put("other", "kept", b"1", client::views::Condition::Any).unwrap();
    let mut second = Sums { version: 2, fail_at: None };
    let refuse = HostOptions { on_changed: OnChanged::Refuse, ..HostOptions::default() };
    let host = ProjectionHost::new(orders.clone(), views.clone(), refuse);
    let refused = host.run(&mut second, &StopFlag::new());
    assert!(matches!(refused, Err(HostError::Changed { stored: 1, current: 2, .. })));
    assert_eq!(documents(&views), expected(50), "refusing changes nothing");
    append(&orders, 51..=60);
    run_until(&orders, &views, 60, &mut second);
    assert_eq!(documents(&views), expected(60));
    assert!(views.get("other", "kept").unwrap().is_some());
}

#[test]
fn another_filter_makes_the_views_anew() {
    let world = World::start(2);
    let orders = world.orders();
    append(&orders, 1..=70);
    let views = ViewStore::open(world.path("views.redb")).unwrap();
    let stream = "order-3".try_into().unwrap();
    let one = HostOptions { filter: Some(Filter::Stream(stream)), ..HostOptions::default() };
    let host = |options| ProjectionHost::new(orders.clone(), views.clone(), options);
    let run = |options, wanted: &dyn Fn() -> bool| {
        let (host, stop) = (host(options), StopFlag::new());
        std::thread::scope(|scope| {
            let running = scope.spawn(|| host.run(&mut sums(), &stop));
            wait_until("the views are as they should be", wanted);
            stop.stop();
            running.join().unwrap().unwrap();
        });
    };
    let of_one: BTreeMap<_, _> =
        expected(70).into_iter().filter(|(key, _)| key == "order-3").collect();
    run(one.clone(), &|| documents(&views) == of_one);
    let refuse = HostOptions { on_changed: OnChanged::Refuse, ..HostOptions::default() };
    let refused = host(refuse).run(&mut sums(), &StopFlag::new()).unwrap_err();
    let HostError::FilterChanged { stored, current, .. } = refused else { panic!("{refused}") };
    assert_eq!((stored.as_str(), current.as_str()), ("stream order-3", "all events"));
    assert_eq!(documents(&views), of_one, "refusing changes nothing");
    run(HostOptions::default(), &|| documents(&views) == expected(70));
    run(one, &|| documents(&views) == of_one);
}

#[test]
fn a_projection_keeps_to_its_own_views() {
    struct Stranger;
    impl Projection for Stranger {
        fn name(&self) -> &str {
            "stranger"
        }
        fn version(&self) -> u32 {
            1
        }
        fn views(&self) -> &[&str] {
            &["own"]
        }
        fn handle(&mut self, _: &Batch, views: &mut ViewBatch<'_>) -> Result<(), HandleError> {
            Ok(views.put("sums", "x", b"")?)
        }
    }
    let world = World::start(1);
    let orders = world.orders();
    append(&orders, 1..=1);
    let views = ViewStore::open(world.path("views.redb")).unwrap();
    let host = ProjectionHost::new(orders, views.clone(), HostOptions::default());
    let error = host.run(&mut Stranger, &StopFlag::new()).unwrap_err();
    let HostError::Handle { source, .. } = error else { panic!("{error}") };
    assert!(matches!(source.downcast_ref(), Some(ViewError::ForeignView { .. })));
    assert!(views.checkpoint("stranger").unwrap().0.is_empty());
}

#[test]
fn others_see_how_far_it_is() {
    let world = World::start(2);
    let orders = world.orders();
    append(&orders, 1..=100);
    let views = ViewStore::open(world.path("views.redb")).unwrap();
    let options =
        HostOptions { commit_interval: Duration::from_millis(20), ..HostOptions::default() };
    let host = ProjectionHost::new(orders, views, options);
    let (progress, stop) = (host.progress(), StopFlag::new());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| host.run(&mut sums(), &stop));
        wait_until("it has caught up", || {
            let counters = progress.counters();
            counters.caught_up && counters.lag == 0 && counters.events == 100
        });
        stop.stop();
        let counters = running.join().unwrap().unwrap();
        assert!(counters.commits >= 1);
    });
}
