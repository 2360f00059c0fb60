use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::event::Sequence;
use crate::names::{StoreName, StreamName};
use crate::wire::replay::{ReadDirection, RequestNumber};

const CREDIT: u64 = 1000;

struct Bench {
    schedule: ReplaySchedule,
    now: Instant,
    outputs: Vec<Output>,
}

fn peer(number: u8) -> Bytes {
    Bytes::copy_from_slice(&[number])
}

fn read(request: u64) -> Read {
    Read {
        request: RequestNumber(request),
        store: StoreName::new("orders").unwrap(),
        partition: 0,
        source: ReadSource::All,
        direction: ReadDirection::Forward,
        from: 1,
        to: 0,
        count_max: 0,
        at_least: Sequence::ZERO,
        credit_bytes: CREDIT,
        epoch: Epoch::ZERO,
        block_bytes_max: 0,
        strong: false,
    }
}

fn block(bytes: usize, end: bool) -> Outcome {
    let block = Block {
        request: RequestNumber(0),
        lineage: Uuid::nil(),
        incarnation: Uuid::nil(),
        epoch: Epoch(1),
        first: Sequence(1),
        last: Sequence(2),
        head: Sequence(9),
        count: 2,
        end: false,
        records: Bytes::from(vec![0; bytes]),
    };
    Outcome::Block { block, next: 3, end }
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "any instant does as a beginning")]
    fn new(limits: Limits) -> Self {
        let schedule = ReplaySchedule::new(limits);
        Self { schedule, now: Instant::now(), outputs: Vec::new() }
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        self.schedule.handle(self.now, input, &mut self.outputs);
        std::mem::take(&mut self.outputs)
    }

    fn begin(&mut self, from: u8, request: u64) -> Vec<Output> {
        self.give(Input::Read { peer: peer(from), read: read(request) })
    }

    fn fetched(&mut self, ticket: u64, outcome: Outcome) -> Vec<Output> {
        self.give(Input::Fetched { ticket: Ticket(ticket), outcome })
    }

    fn delivered(&mut self, ticket: u64, delivery: Delivery) -> Vec<Output> {
        self.give(Input::Delivered { ticket: Ticket(ticket), delivery })
    }

    fn later(&mut self, by: Duration) -> Vec<Output> {
        self.now += by;
        self.give(Input::Tick)
    }
}

fn fetches(outputs: &[Output]) -> Vec<u64> {
    let ticket = |output: &Output| match output {
        Output::Fetch { ticket, .. } => Some(ticket.0),
        _ => None,
    };
    outputs.iter().filter_map(ticket).collect()
}

fn code(outputs: &[Output]) -> Option<ErrorCode> {
    outputs.iter().find_map(|output| match output {
        Output::Tell { answer: ReplayAnswer::Fail { refusal, .. }, .. }
        | Output::Send { answer: ReplayAnswer::Fail { refusal, .. }, .. } => {
            ErrorCode::from_number(refusal.code)
        }
        _ => None,
    })
}

#[test]
fn a_read_goes_on_block_by_block_until_its_end() {
    let mut bench = Bench::new(Limits::default());
    assert_eq!(fetches(&bench.begin(1, 7)), [1]);
    let outputs = bench.fetched(1, block(100, false));
    let [Output::Send { peer: to, answer: ReplayAnswer::Block(block_sent), .. }] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!((to, block_sent.request, block_sent.end), (&peer(1), RequestNumber(7), false));
    let outputs = bench.delivered(1, Delivery::Done);
    let [Output::Fetch { fetch, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(fetch.read.from, 3);
    bench.fetched(1, block(100, true));
    assert_eq!(bench.delivered(1, Delivery::Done), []);
    assert_eq!(bench.schedule.len(), 0);
}

#[test]
fn without_credit_nothing_is_fetched() {
    let mut bench = Bench::new(Limits::default());
    bench.begin(1, 7);
    bench.fetched(1, block(1000, false));
    assert_eq!(bench.delivered(1, Delivery::Done), []);
    let credit =
        |bytes| Input::Credit { peer: peer(1), request: RequestNumber(7), credit_bytes: bytes };
    // Credit is cumulative: a repeated or older one adds nothing.
    assert_eq!(bench.give(credit(1000)), []);
    assert_eq!(bench.give(credit(10)), []);
    assert_eq!(fetches(&bench.give(credit(1001))), [1]);
}

#[test]
fn another_peer_can_neither_credit_nor_cancel_a_read() {
    let mut bench = Bench::new(Limits::default());
    bench.begin(1, 7);
    bench.give(Input::Cancel { peer: peer(2), request: RequestNumber(7) });
    assert_eq!(bench.schedule.len(), 1);
    bench.give(Input::Cancel { peer: peer(1), request: RequestNumber(7) });
    assert_eq!(bench.schedule.len(), 0);
    // The fetch that was under way ends in nothing.
    assert_eq!(bench.fetched(1, block(100, false)), []);
}

/// Fetches and delivers so many blocks, one at a time; the tickets in the order of their turns.
fn turns(bench: &mut Bench, mut turn: u64, count: usize) -> Vec<u64> {
    let mut turns = Vec::new();
    for _ in 0..count {
        turns.push(turn);
        let outputs = bench.fetched(turn, block(10, false));
        bench.delivered(turn, Delivery::Done);
        turn = fetches(&outputs)[0];
    }
    turns
}

#[test]
fn reads_of_a_peer_take_turns() {
    let mut bench = Bench::new(Limits { fetches_max: 1, ..Limits::default() });
    (1..=3).for_each(|request| drop(bench.begin(1, request)));
    assert_eq!(turns(&mut bench, 1, 7), [1, 2, 3, 1, 2, 3, 1]);
}

/// Whatever one peer has asked for, another one's only read has the next turn but one after each of
/// its blocks was sent.
#[test]
fn peers_take_turns_however_much_one_asks_for() {
    let mut bench = Bench::new(Limits { fetches_max: 1, ..Limits::default() });
    for request in 1..=100 {
        bench.begin(1, request);
    }
    bench.begin(2, 1);
    let turns = turns(&mut bench, 1, 9);
    let of_second: Vec<_> = turns.iter().map(|ticket| *ticket == 101).collect();
    assert_eq!(of_second, [false, false, true, false, false, true, false, false, true]);
}

/// A client may have many small reads under way. They are all answered, a few at a time.
#[test]
fn many_reads_of_one_peer_wait_for_their_turn() {
    let limits = Limits { fetches_max: 9, ..Limits::default() };
    let mut bench = Bench::new(limits);
    let mut fetching: Vec<u64> = Vec::new();
    for request in 1..=256 {
        fetching.extend(fetches(&bench.begin(1, request)));
    }
    assert_eq!(code(&bench.begin(1, 257)), Some(ErrorCode::BUSY));
    let mut answered = 0;
    while let Some(ticket) = fetching.pop() {
        assert!(fetching.len() < limits.peer_blocks_max);
        bench.fetched(ticket, block(10, true));
        fetching.extend(fetches(&bench.delivered(ticket, Delivery::Done)));
        answered += 1;
    }
    assert_eq!((answered, bench.schedule.len()), (256, 0));
}

#[test]
fn who_does_not_take_blocks_gets_no_more_and_delays_nobody() {
    let limits = Limits { fetches_max: 9, blocks_max: 5, ..Limits::default() };
    let mut bench = Bench::new(limits);
    (1..=9).for_each(|request| drop(bench.begin(1, request)));
    for ticket in 1..=4 {
        bench.fetched(ticket, block(10, true));
        assert_eq!(bench.delivered(ticket, Delivery::Full), [], "it has four blocks in hand");
    }
    assert_eq!(fetches(&bench.begin(2, 1)), [10]);
    // As many blocks as may be are in hand, so a third one is told to come later.
    assert_eq!(code(&bench.begin(3, 1)), Some(ErrorCode::BUSY));
    bench.fetched(10, block(10, true));
    bench.delivered(10, Delivery::Done);
    assert_eq!(fetches(&bench.begin(3, 1)), [11]);
    // One that is cancelled makes room.
    let outputs = bench.give(Input::Cancel { peer: peer(1), request: RequestNumber(2) });
    assert_eq!(fetches(&outputs), [5]);
    bench.give(Input::Delivered { ticket: Ticket(1), delivery: Delivery::Unreachable });
    assert_eq!(bench.schedule.len(), 1);
}

#[test]
fn limits_are_kept() {
    let limits = Limits { peer_reads_max: 2, reads_max: 3, ..Limits::default() };
    let mut bench = Bench::new(limits);
    bench.begin(1, 1);
    assert_eq!(code(&bench.begin(1, 1)), Some(ErrorCode::INVALID_ARGUMENT));
    bench.begin(1, 2);
    assert_eq!(code(&bench.begin(1, 3)), Some(ErrorCode::BUSY));
    bench.begin(2, 1);
    assert_eq!(code(&bench.begin(3, 1)), Some(ErrorCode::BUSY));
    assert_eq!(bench.schedule.len(), 3);
}

#[test]
fn a_read_waits_for_the_head_and_gives_up_in_the_end() {
    let mut bench = Bench::new(Limits::default());
    bench.begin(1, 1);
    let behind = || Outcome::Behind { head: Sequence(3) };
    assert_eq!(bench.fetched(1, behind()), []);
    assert_eq!(bench.schedule.deadline(), Some(bench.now + HEAD_RETRY));
    assert_eq!(fetches(&bench.later(HEAD_RETRY)), [1]);
    assert_eq!(bench.fetched(1, behind()), []);
    assert_eq!(fetches(&bench.later(Limits::default().head_wait)), [1]);
    assert_eq!(code(&bench.fetched(1, behind())), Some(ErrorCode::INDEX_BEHIND));
    bench.delivered(1, Delivery::Done);
    assert_eq!(bench.schedule.len(), 0);
}

/// Each wait has its own bound, however long the read has been under way.
#[test]
fn a_read_waits_for_the_index_and_gives_up_in_the_end() {
    let mut bench = Bench::new(Limits::default());
    let head_wait = Limits::default().head_wait;
    bench.begin(1, 1);
    assert_eq!(bench.fetched(1, Outcome::IndexBehind), []);
    bench.later(head_wait - HEAD_RETRY);
    assert_eq!(bench.fetched(1, Outcome::IndexBehind), []);
    bench.later(HEAD_RETRY);
    bench.fetched(1, block(10, false));
    assert_eq!(fetches(&bench.delivered(1, Delivery::Done)), [1]);
    assert_eq!(bench.fetched(1, Outcome::IndexBehind), []);
    bench.later(head_wait);
    assert_eq!(code(&bench.fetched(1, Outcome::IndexBehind)), Some(ErrorCode::INDEX_BEHIND));
    bench.delivered(1, Delivery::Done);
    assert_eq!(bench.schedule.len(), 0);
}

#[test]
fn a_full_pipe_is_tried_again_and_a_gone_peer_forgotten() {
    let mut bench = Bench::new(Limits::default());
    bench.begin(1, 1);
    bench.begin(1, 2);
    bench.begin(2, 1);
    bench.fetched(1, block(10, false));
    assert_eq!(bench.delivered(1, Delivery::Full), []);
    let outputs = bench.later(FULL_RETRY);
    assert!(matches!(&outputs[..], [Output::Send { ticket: Ticket(1), .. }]), "{outputs:?}");
    bench.delivered(1, Delivery::Unreachable);
    assert_eq!(bench.schedule.len(), 1);
}

#[test]
fn a_read_without_credit_is_forgotten_after_a_minute() {
    let mut bench = Bench::new(Limits::default());
    bench.give(Input::Read { peer: peer(1), read: Read { credit_bytes: 0, ..read(1) } });
    let idle_max = Limits::default().idle_max;
    assert_eq!(bench.schedule.deadline(), Some(bench.now + idle_max));
    assert_eq!(bench.later(idle_max - Duration::from_millis(1)), []);
    assert_eq!(code(&bench.later(Duration::from_millis(1))), Some(ErrorCode::EXPIRED));
    assert_eq!(bench.schedule.len(), 0);
}

#[test]
fn a_failed_fetch_ends_the_read() {
    let mut bench = Bench::new(Limits::default());
    bench.begin(1, 1);
    let failure = Failure::new(ErrorCode::STREAM_NOT_FOUND, "no such stream");
    let outputs = bench.fetched(1, Outcome::Failed(failure));
    assert_eq!(code(&outputs), Some(ErrorCode::STREAM_NOT_FOUND));
    bench.delivered(1, Delivery::Done);
    assert_eq!(bench.schedule.len(), 0);
}

/// A stream's first records come without a hand-over while nobody else reads; what may take long
/// never keeps the loop.
#[test]
fn the_loop_fetches_a_lone_stream_itself() {
    let stream = || ReadSource::Stream(StreamName::new("order-1").unwrap());
    let mut bench = Bench::new(Limits::default());
    let mut begin = |request, source: ReadSource| {
        let (block_bytes_max, credit_bytes) = (u32::MAX, u64::MAX);
        let read = Read { source, block_bytes_max, credit_bytes, ..read(request) };
        let outputs = bench.give(Input::Read { peer: peer(1), read });
        let [Output::Fetch { fetch, by, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        let result = (*by, fetch.bytes_max);
        if request != 1 {
            bench.fetched(request, block(100, true));
            bench.delivered(request, Delivery::Done);
        }
        result
    };
    assert_eq!(begin(1, stream()), (Fetcher::Loop, HERE_BYTES_MAX));
    assert_eq!(begin(2, stream()), (Fetcher::Reader, BLOCK_BYTES_MAX));
    assert_eq!(begin(3, ReadSource::All), (Fetcher::Reader, BLOCK_BYTES_MAX));
    bench.fetched(1, block(100, false));
    let outputs = bench.delivered(1, Delivery::Done);
    let [Output::Fetch { fetch, by, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    let rest = (*by, fetch.bytes_max);
    assert_eq!(rest, (Fetcher::Reader, BLOCK_BYTES_MAX), "a long stream goes on elsewhere");
    bench.fetched(1, block(100, true));
    bench.delivered(1, Delivery::Done);
    let outputs = bench.begin(1, 4);
    assert!(
        matches!(&outputs[..], [Output::Fetch { by: Fetcher::Reader, .. }]),
        "a read of all: {outputs:?}"
    );
}

#[test]
fn the_block_size_is_kept_between_bounds() {
    for (asked, expected) in [(0, BLOCK_BYTES_MIN), (8192, 8192), (u32::MAX, BLOCK_BYTES_MAX)] {
        let mut bench = Bench::new(Limits::default());
        let read = Read { block_bytes_max: asked, credit_bytes: u64::MAX, ..read(1) };
        let outputs = bench.give(Input::Read { peer: peer(1), read });
        let [Output::Fetch { fetch, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(fetch.bytes_max, expected);
    }
}

proptest! {
    /// Whatever peers, disk and network do: never more reads or fetches than allowed, never two
    /// blocks of one read on their way, and nothing is left once all peers are gone.
    #[test]
    fn bounds_hold_whatever_happens(
        steps in proptest::collection::vec((0..10_u8, 0..4_u8, 0..6_u64), 1..300)
    ) {
        let limits = Limits {
            peer_reads_max: 3, reads_max: 6, peer_blocks_max: 1, blocks_max: 3, ..Limits::default()
        };
        let mut bench = Bench::new(limits);
        let (mut fetching, mut sending, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for (step, from, number) in steps {
            let request = RequestNumber(number);
            let picked = usize::try_from(number).unwrap();
            let outputs = match step {
                0 | 1 => bench.begin(from, number),
                2 => bench.give(Input::Credit {
                    peer: peer(from), request, credit_bytes: number * 1000,
                }),
                3 => bench.give(Input::Cancel { peer: peer(from), request }),
                4 | 5 if picked < fetching.len() => {
                    let ticket = fetching.swap_remove(picked);
                    let end = from == 0;
                    bench.fetched(ticket, block(500, end))
                }
                6 if picked < sending.len() => {
                    let ticket = sending.swap_remove(picked);
                    let delivery = match from {
                        0 => Delivery::Unreachable,
                        1 => Delivery::Full,
                        _ => Delivery::Done,
                    };
                    bench.delivered(ticket, delivery)
                }
                7 => {
                    let read = Read { strong: true, ..read(number) };
                    bench.give(Input::Read { peer: peer(from), read })
                }
                8 if picked < asked.len() => {
                    let ticket = Ticket(asked.swap_remove(picked));
                    let refusal = (from == 0).then(|| Failure::new(ErrorCode::NOT_LEADER, ""));
                    bench.give(Input::Confirmed { ticket, refusal })
                }
                _ => bench.later(Duration::from_millis(50)),
            };
            for output in outputs {
                match output {
                    Output::Confirm { ticket } => asked.push(ticket.0),
                    Output::Fetch { ticket, .. } => fetching.push(ticket.0),
                    Output::Send { ticket, .. } => {
                        prop_assert!(!sending.contains(&ticket.0));
                        sending.push(ticket.0);
                    }
                    Output::Tell { .. } => {}
                }
            }
            prop_assert!(fetching.len() <= limits.fetches_max);
            prop_assert!(bench.schedule.len() <= limits.reads_max);
            let (each, blocks) = bench.schedule.blocks();
            prop_assert!(blocks <= limits.blocks_max);
            prop_assert_eq!(each.values().sum::<usize>(), blocks);
            prop_assert!(each.values().all(|of_peer| *of_peer <= limits.peer_blocks_max));
        }
        bench.later(limits.idle_max * 2);
        for ticket in fetching {
            bench.fetched(ticket, block(1, true));
        }
    }
}

fn begin_strong(bench: &mut Bench) -> Vec<Output> {
    let read = Read { strong: true, epoch: Epoch(4), ..read(1) };
    bench.give(Input::Read { peer: peer(1), read })
}

#[test]
fn a_strong_read_is_fetched_once_the_leader_is_confirmed() {
    let mut bench = Bench::new(Limits::default());
    let ticket = Ticket(1);
    assert_eq!(begin_strong(&mut bench), [Output::Confirm { ticket }]);
    assert_eq!(bench.later(Duration::from_millis(1)), []);
    let credit = Input::Credit { peer: peer(1), request: RequestNumber(1), credit_bytes: CREDIT };
    assert_eq!(bench.give(credit), [], "credit is no confirmation");
    let outputs = bench.give(Input::Confirmed { ticket, refusal: None });
    assert!(matches!(outputs.as_slice(), [Output::Fetch { .. }]), "{outputs:?}");
    // A second answer changes nothing.
    assert_eq!(bench.give(Input::Confirmed { ticket, refusal: None }), []);
}

#[test]
fn a_strong_read_that_is_not_confirmed_is_refused() {
    let ticket = Ticket(1);
    let mut bench = Bench::new(Limits::default());
    begin_strong(&mut bench);
    let refusal = Some(Failure::new(ErrorCode::NOT_LEADER, "another one leads"));
    let outputs = bench.give(Input::Confirmed { ticket, refusal });
    assert!(matches!(outputs.as_slice(), [Output::Tell { .. }]), "{outputs:?}");
    assert_eq!(bench.schedule.len(), 0);

    begin_strong(&mut bench);
    let until = bench.schedule.deadline().unwrap();
    bench.now = until;
    let outputs = bench.give(Input::Tick);
    assert!(matches!(outputs.as_slice(), [Output::Tell { .. }]), "{outputs:?}");
    assert_eq!(bench.give(Input::Confirmed { ticket: Ticket(2), refusal: None }), []);
    assert_eq!(bench.schedule.len(), 0);
}

/// The place of the reader was checked with the first block; what follows is of this history.
#[test]
fn only_the_first_fetch_says_the_readers_epoch() {
    let mut bench = Bench::new(Limits::default());
    let read = Read { epoch: Epoch(4), ..read(1) };
    let outputs = bench.give(Input::Read { peer: peer(1), read });
    let [Output::Fetch { fetch, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(fetch.read.epoch, Epoch(4));
    bench.fetched(1, block(10, false));
    let outputs = bench.delivered(1, Delivery::Done);
    let [Output::Fetch { fetch, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(fetch.read.epoch, Epoch::ZERO);
}

#[test]
fn readers_that_take_nothing_are_counted() {
    let mut bench = Bench::new(Limits::default());
    let standing = |bench: &Bench| {
        let now = bench.schedule.standing(bench.now);
        (now.open, now.stalled, now.stalled_ms)
    };
    bench.begin(1, 1);
    bench.begin(2, 1);
    // The first reader's credit is used up, the other one's pipe is full.
    bench.fetched(1, block(usize::try_from(CREDIT).unwrap(), false));
    bench.delivered(1, Delivery::Done);
    bench.fetched(2, block(10, true));
    bench.delivered(2, Delivery::Full);
    assert_eq!(standing(&bench), (2, 0, 0));
    bench.later(Duration::from_secs(4));
    bench.delivered(2, Delivery::Full);
    assert_eq!(standing(&bench), (2, 0, 0), "nobody takes blocks all the time");
    bench.now += Duration::from_secs(3);
    assert_eq!(standing(&bench), (2, 2, 7_000));
    let (request, credit_bytes) = (RequestNumber(1), 2 * CREDIT);
    bench.give(Input::Credit { peer: peer(1), request, credit_bytes });
    assert_eq!(
        standing(&bench),
        (2, 1, 7_000),
        "what waits for the disk is no fault of its reader"
    );
}
