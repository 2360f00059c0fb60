use uuid::Uuid;

use super::*;

const LEASE: Duration = Duration::from_secs(5);

/// A process, and the log that it shares with others.
struct Bench {
    claims: Claims,
    now: Instant,
    appends: Vec<(Entry, ExpectedVersion)>,
    told: Vec<ClaimOutput>,
}

fn session(number: u128) -> Session {
    Session(Uuid::from_u128(number))
}

fn beat(of: u128) -> ClaimInput {
    ClaimInput::Seen(Entry::Beat { session: session(of), number: 1 })
}

fn shard(number: u16) -> Shard {
    Shard::new(number).unwrap()
}

fn claim(of: u128, number: u16, version: u64) -> ClaimInput {
    let (shard, session, version) = (shard(number), session(of), Version(version));
    ClaimInput::Seen(Entry::Claim { shard, session, begins: true, version })
}

impl Bench {
    fn new(of: u128) -> Bench {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
        let now = Instant::now();
        let claims = Claims::new(session(of), LEASE);
        Bench { claims, now, appends: Vec::new(), told: Vec::new() }
    }

    fn give(&mut self, input: ClaimInput) -> &mut Bench {
        let mut outputs = Vec::new();
        self.claims.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                ClaimOutput::Append { entry: Entry::Beat { .. }, ticket, .. } => {
                    self.give(ClaimInput::Appended { ticket, result: Ok(()) });
                }
                ClaimOutput::Append { entry, expected, .. } => self.appends.push((entry, expected)),
                other => self.told.push(other),
            }
        }
        self
    }

    /// All appends succeed, and the log shows them.
    fn settle(&mut self) -> &mut Bench {
        while !self.appends.is_empty() {
            for (entry, _) in std::mem::take(&mut self.appends) {
                self.give(ClaimInput::Seen(entry));
            }
        }
        self
    }

    fn sleep(&mut self, time: Duration) -> &mut Bench {
        let until = self.now + time;
        let mut ticks = 0;
        while let Some(at) = self.claims.deadline().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.give(ClaimInput::Tick);
            ticks += 1;
            assert!(ticks < 1_000, "it does not spin");
        }
        self.now = until;
        self
    }

    fn asked(&self) -> Vec<u16> {
        let number = |(entry, _): &(Entry, _)| match entry {
            Entry::Claim { shard, begins: true, .. } => Some(shard.number()),
            _ => None,
        };
        self.appends.iter().filter_map(number).collect()
    }
}

#[test]
fn alone_it_claims_everything_once_it_hears_the_log() {
    let mut bench = Bench::new(1);
    bench.sleep(LEASE * 3);
    assert!(bench.asked().is_empty());
    bench.give(ClaimInput::Live(true));
    assert_eq!(bench.asked(), (0..32).collect::<Vec<u16>>());
    assert!(bench.appends.iter().all(|(_, expected)| *expected == ExpectedVersion::None));
    assert_eq!(bench.claims.held(), 0, "the log decides");
    bench.settle();
    assert_eq!((bench.claims.held(), bench.told.len()), (32, 32));
    assert!(bench.sleep(LEASE * 10).asked().is_empty());
}

#[test]
fn of_two_that_want_a_shard_one_gets_it() {
    let mut bench = Bench::new(1);
    bench.give(ClaimInput::Live(true));
    bench.appends.clear();
    let ticket = AppendTicket::Claim { shard: shard(7), version: Version(1) };
    let result = Err(AppendFailure::WrongVersion);
    bench.give(ClaimInput::Appended { ticket, result }).give(claim(2, 7, 1)).give(beat(2));
    assert!(!bench.claims.holds(shard(7)));
    assert!(bench.sleep(LEASE / 2).asked().is_empty(), "who holds it is alive");
}

#[test]
fn a_claim_that_may_not_be_written_is_made_again() {
    let mut bench = Bench::new(1);
    bench.give(ClaimInput::Live(true));
    bench.appends.clear();
    let ticket = AppendTicket::Claim { shard: shard(7), version: Version(1) };
    bench.give(ClaimInput::Appended { ticket, result: Err(AppendFailure::Again) });
    assert!(bench.asked().is_empty());
    assert_eq!(bench.sleep(PAUSE).asked(), [7]);
}

#[test]
fn a_newcomer_gets_half() {
    let mut bench = Bench::new(1);
    bench.give(ClaimInput::Live(true)).settle().told.clear();
    bench.give(beat(2));
    let releases = bench.appends.len();
    assert_eq!(releases, 16);
    let exact = ExpectedVersion::Exact(Version(1));
    assert!(bench.appends.iter().all(|(entry, expected)| {
        matches!(entry, Entry::Claim { begins: false, version: Version(2), .. })
            && *expected == exact
    }));
    bench.settle();
    assert_eq!(bench.claims.held(), 16);
    assert!(bench.told.iter().all(|output| matches!(output, ClaimOutput::Lost(_))));
    assert!(bench.asked().is_empty(), "they are for the other");
}

#[test]
fn the_silent_lose_their_shards_and_not_before() {
    let mut bench = Bench::new(1);
    bench.give(claim(2, 0, 1)).give(claim(2, 1, 1)).give(ClaimInput::Watch(session(2)));
    bench.sleep(LEASE * 2);
    bench.give(ClaimInput::Live(true)).settle();
    assert_eq!(bench.claims.held(), 30);
    bench.sleep(LEASE / 2).give(beat(2)).sleep(LEASE - Duration::from_millis(1));
    assert!(!bench.told.contains(&ClaimOutput::Over(session(2))));
    assert!(!bench.asked().contains(&0));
    bench.sleep(Duration::from_millis(1)).settle();
    assert!(bench.told.contains(&ClaimOutput::Over(session(2))));
    assert_eq!(bench.claims.held(), 32);
}

#[test]
fn who_does_not_hear_the_log_judges_nobody() {
    let mut bench = Bench::new(1);
    bench.give(claim(2, 0, 1)).give(ClaimInput::Watch(session(2))).give(ClaimInput::Live(true));
    bench.give(beat(2)).settle();
    bench.give(ClaimInput::Live(false)).sleep(LEASE * 10);
    assert!(!bench.told.contains(&ClaimOutput::Over(session(2))));
    // Then the other has a whole lease to be heard.
    bench.give(ClaimInput::Live(true)).sleep(LEASE - Duration::from_millis(1));
    assert!(!bench.told.contains(&ClaimOutput::Over(session(2))));
    bench.sleep(Duration::from_millis(1));
    assert!(bench.told.contains(&ClaimOutput::Over(session(2))));
}

#[test]
fn who_is_gone_for_certain_is_not_waited_for() {
    let left = ClaimInput::Seen(Entry::Left { session: session(2) });
    for gone in [ClaimInput::Gone(session(2)), left] {
        let mut bench = Bench::new(1);
        bench.give(claim(2, 0, 1)).give(ClaimInput::Watch(session(2)));
        bench.give(ClaimInput::Live(true)).give(gone).settle();
        assert_eq!(bench.claims.held(), 32);
        assert!(bench.told.contains(&ClaimOutput::Over(session(2))));
    }
}

#[test]
fn what_is_said_again_or_too_late_changes_nothing() {
    let mut bench = Bench::new(1);
    bench.give(ClaimInput::Live(true)).settle().told.clear();
    let before = bench.claims.claims.clone();
    bench.give(claim(2, 0, 1)).give(claim(2, 0, 0));
    let ticket = AppendTicket::Claim { shard: shard(0), version: Version(1) };
    bench.give(ClaimInput::Appended { ticket, result: Err(AppendFailure::WrongVersion) });
    // Somebody gives back what is not theirs.
    let entry = |version| Entry::Claim {
        shard: shard(0),
        session: session(3),
        begins: false,
        version: Version(version),
    };
    bench.give(ClaimInput::Seen(entry(1)));
    assert_eq!((&bench.claims.claims, bench.told.len()), (&before, 0));
    bench.give(ClaimInput::Seen(entry(2)));
    assert!(bench.claims.holds(shard(0)));
}

#[test]
fn it_beats_often_only_when_that_matters() {
    let beats = |bench: &mut Bench| {
        let before = bench.claims.beats;
        bench.sleep(Duration::from_secs(50));
        bench.claims.beats - before
    };
    let mut bench = Bench::new(1);
    bench.give(ClaimInput::Live(true)).settle();
    assert_eq!(beats(&mut bench), 10);
    bench.give(ClaimInput::Busy(true));
    assert!((49..=51).contains(&beats(&mut bench)));
    bench.give(ClaimInput::Busy(false)).give(beat(2));
    let before = bench.claims.beats;
    bench.sleep(Duration::from_secs(4));
    assert!(bench.claims.beats - before >= 4, "a newcomer has to hear that we live");
}

#[test]
fn who_leaves_gives_everything_back() {
    let mut bench = Bench::new(1);
    bench.give(ClaimInput::Live(true)).settle().give(ClaimInput::Stop);
    let releases = std::mem::take(&mut bench.appends);
    assert_eq!(releases.len(), 32);
    for (entry, _) in releases {
        let Entry::Claim { shard, version, .. } = entry else {
            panic!("{entry:?}");
        };
        assert_eq!(bench.appends, []);
        let ticket = AppendTicket::Claim { shard, version };
        bench.give(ClaimInput::Appended { ticket, result: Ok(()) });
    }
    let left = Entry::Left { session: session(1) };
    assert_eq!(bench.appends, [(left, ExpectedVersion::Any)]);
    bench.give(ClaimInput::Appended { ticket: AppendTicket::Sign, result: Ok(()) });
    assert_eq!(bench.told.last(), Some(&ClaimOutput::Left));
    bench.appends.clear();
    assert_eq!(bench.sleep(LEASE * 3).appends, []);
}

#[test]
fn claims_survive_a_checkpoint() {
    let mut bench = Bench::new(1);
    bench.give(claim(2, 0, 3)).give(claim(3, 9, 1));
    let mut restored = Claims::new(session(1), LEASE);
    restored.restore(&bench.claims.encode()).unwrap();
    assert_eq!(restored.claims, bench.claims.claims);
    for damaged in [&b""[..], b"\x90", b"\xc1"] {
        assert!(restored.restore(damaged).is_err());
    }
}
