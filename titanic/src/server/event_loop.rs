//! The loop: the one thread that drives the machine, and all that the machine asks for.
//!
//! ```text
//! broker ──DEALER── Counter ──requests──┐              ┌──appends───> client ──┐
//!                   ^───────────answers─┤              ├──look-ups──> readers ─┤
//!                                       ├── Titanic ───┤                       │
//! broker ──DEALER── Caller ───replies───┤  (machine)   ├──calls, questions     │
//!                   ^─────────────calls─┤              └──changes───> keeper   │
//! follower ──────────────────────steps──┘<─────────────────────────────────────┘
//! ```
//!
//! The loop decides nothing. It hands in what has come, carries out what comes out, and sleeps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker::net::{self, Queue, TICK, Waker};
use client::{Checkpoint, Sequence, StoreHandle};
use crossbeam_channel::Receiver;
use zmq::{Context, POLLIN, PollItem};

use super::appends;
use super::caller::{Caller, CallerEvent};
use super::counter::{Counter, CounterEvent};
use super::follower::{Followed, Follower};
use super::keeper::Keeper;
use super::lifecycle::Lifecycle;
use super::readers::{Job, Readers};
use crate::{AppendFailure, AppendTicket, Ask, Door, FindTicket, Input, Logged, Now, Output};
use crate::{Inquiry, RequestKey, RequestTicket, Titanic};

/// Messages taken from one socket before the others have their turn.
const ROUND_MESSAGES: usize = 64;
/// Results of other threads taken before the sockets have their turn.
const ROUND_EVENTS: usize = 1_024;
/// Batches of the log taken before the sockets have their turn.
const ROUND_BATCHES: usize = 4;
/// How long calls under way may take when the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How often changes are written.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How often the place in the log is written although no command has changed: there are signs of
/// life in the log every second, and it costs little to read a minute of them again.
const KEEP_PLACE_EVERY: Duration = Duration::from_secs(60);
/// How often the log says how much there is.
const FIGURES_EVERY: Duration = Duration::from_secs(60);

/// What other threads have done for the loop.
#[derive(Debug)]
pub(super) enum Event {
    /// An append is over.
    Appended(AppendTicket, Result<Sequence, AppendFailure>),
    /// A look-up is over.
    Found(FindTicket, Result<Vec<Option<Logged>>, ()>),
    /// Changes have been written.
    Kept,
}

/// What the loop works with.
pub(super) struct EventLoop {
    pub(super) machine: Titanic,
    pub(super) store: StoreHandle,
    pub(super) context: Context,
    pub(super) counters: Vec<Counter>,
    pub(super) callers: Vec<Caller>,
    pub(super) follower: Follower,
    pub(super) readers: Readers,
    pub(super) keeping: Option<Keeping>,
    pub(super) events: Receiver<Event>,
    pub(super) queue: Queue<Event>,
    pub(super) waker: Waker,
    pub(super) lifecycle: Lifecycle,
    pub(super) progress: Progress,
}

/// The keeper, and when it has its next turn.
pub(super) struct Keeping {
    pub(super) keeper: Keeper,
    /// Where the log has been read to.
    pub(super) checkpoint: Checkpoint,
    pub(super) under_way: bool,
    pub(super) due: Instant,
    pub(super) place_due: Instant,
}

/// How far the loop's own life has got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The services are offered: the view was at the head once.
    offered: bool,
    /// The machine has nothing under way any more and will not begin anything.
    stopped: bool,
    figures_due: Option<Instant>,
}

impl EventLoop {
    /// Works until the process is asked to stop, then lets what is under way come to its end.
    ///
    /// # Errors
    /// A socket failed.
    pub(super) fn run(mut self) -> Result<(), zmq::Error> {
        while !self.lifecycle.stop().is_requested() {
            self.round()?;
        }
        if self.lifecycle.fatal().is_none() {
            let deadline = clock() + DRAIN;
            self.hand_in(Input::Stop)?;
            while !self.progress.stopped && clock() < deadline && self.lifecycle.fatal().is_none() {
                self.round()?;
            }
        }
        self.leave()
    }

    /// Takes what has come, carries out what is to be done, and sleeps if there was nothing.
    fn round(&mut self) -> Result<(), zmq::Error> {
        let now = now();
        let mut outputs = Vec::new();
        let mut busy = self.hear_counters(now, &mut outputs)?;
        busy |= self.hear_callers(now, &mut outputs)?;
        busy |= self.hear_threads(now, &mut outputs);
        busy |= self.hear_follower(now, &mut outputs)?;
        if self.machine.deadline().is_some_and(|at| at <= now.instant) {
            self.machine.handle(now, Input::Tick, &mut outputs);
        }
        busy |= !outputs.is_empty();
        self.carry_out(now.instant, outputs)?;
        self.keep(now.instant);
        self.say_figures(now.instant);
        if !busy {
            self.sleep(now.instant)?;
        }
        Ok(())
    }

    /// Tells the machine something that did not come from outside.
    ///
    /// # Errors
    /// A socket failed.
    pub(super) fn hand_in(&mut self, input: Input) -> Result<(), zmq::Error> {
        let (now, mut outputs) = (now(), Vec::new());
        self.machine.handle(now, input, &mut outputs);
        self.carry_out(now.instant, outputs)
    }

    fn hear_counters(&mut self, now: Now, outputs: &mut Vec<Output>) -> Result<bool, zmq::Error> {
        let mut busy = false;
        for counter in &mut self.counters {
            busy |= counter.turn(&self.context, now.instant, ROUND_MESSAGES)? > 0;
            for event in counter.take_events() {
                let input = match event {
                    CounterEvent::Request(ticket, request) => {
                        // A broker sends what was offered, and nothing else is.
                        let Some(door) = Door::of(request.service.as_str()) else { continue };
                        let key = RequestKey { session: request.session, number: request.number };
                        let ask = Ask { door, body: request.body, key };
                        Input::Request { ticket, ask, left: request.time_left }
                    }
                    CounterEvent::Forget(ticket) => Input::Forget(ticket),
                };
                self.machine.handle(now, input, outputs);
            }
        }
        if self.progress.offered && self.counters.iter().any(Counter::is_up) {
            self.lifecycle.now_serving();
        }
        Ok(busy)
    }

    fn hear_callers(&mut self, now: Now, outputs: &mut Vec<Output>) -> Result<bool, zmq::Error> {
        let mut busy = false;
        for (broker, caller) in self.callers.iter_mut().enumerate() {
            busy |= caller.turn(&self.context, now.instant, ROUND_MESSAGES)? > 0;
            for event in caller.take_events() {
                busy = true;
                let input = match event {
                    CallerEvent::Up => Input::BrokerUp(broker),
                    CallerEvent::Down => Input::BrokerDown(broker),
                    CallerEvent::Called(ticket, result) => Input::Called { ticket, result },
                    CallerEvent::Presence(service, present) => {
                        Input::Presence { broker, service, present }
                    }
                };
                self.machine.handle(now, input, outputs);
            }
        }
        Ok(busy)
    }

    fn hear_threads(&mut self, now: Now, outputs: &mut Vec<Output>) -> bool {
        let mut heard = 0;
        while heard < ROUND_EVENTS
            && let Ok(event) = self.events.try_recv()
        {
            heard += 1;
            let input = match event {
                Event::Appended(ticket, result) => Input::Appended { ticket, result },
                Event::Found(ticket, result) => Input::Found { ticket, result },
                Event::Kept => {
                    if let Some(keeping) = &mut self.keeping {
                        keeping.under_way = false;
                    }
                    continue;
                }
            };
            self.machine.handle(now, input, outputs);
        }
        heard > 0
    }

    fn hear_follower(&mut self, now: Now, outputs: &mut Vec<Output>) -> Result<bool, zmq::Error> {
        let mut heard = 0;
        while heard < ROUND_BATCHES
            && let Ok(followed) = self.follower.followed.try_recv()
        {
            heard += 1;
            let input = match followed {
                Followed::Log { partition, entries, position } => {
                    if let Some(keeping) = &mut self.keeping {
                        keeping.checkpoint.set(partition, position);
                    }
                    Input::Log { partition, entries, through: position.sequence }
                }
                Followed::Live(live) => {
                    if live && !self.progress.offered {
                        self.offer(now.instant)?;
                    }
                    Input::Live(live)
                }
            };
            self.machine.handle(now, input, outputs);
        }
        Ok(heard > 0)
    }

    /// From now on brokers may send us requests: we know what there is.
    fn offer(&mut self, now: Instant) -> Result<(), zmq::Error> {
        self.progress.offered = true;
        log::info!("the view is at the head of the log: {}", self.machine.figures());
        self.counters.iter_mut().try_for_each(|counter| counter.offer(now))
    }

    fn carry_out(&mut self, now: Instant, outputs: Vec<Output>) -> Result<(), zmq::Error> {
        for output in outputs {
            match output {
                Output::Append { ticket, entry, expected } => {
                    appends::append(&self.store, &self.queue, (ticket, &entry, expected));
                }
                Output::Find { ticket, stream, ids } => {
                    self.readers.find(Job { ticket, stream, ids });
                }
                Output::Call(call) => {
                    if let Some(caller) = self.callers.get_mut(call.broker) {
                        caller.call(now, call)?;
                    }
                }
                Output::Ask(Inquiry { broker, service }) => {
                    if let Some(caller) = self.callers.get_mut(broker) {
                        caller.ask(now, service)?;
                    }
                }
                Output::Answer { ticket, body } => self.answer(now, ticket, body)?,
                Output::Illegal(text) => log::warn!("{text}"),
                Output::Stopped => self.progress.stopped = true,
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        now: Instant,
        ticket: RequestTicket,
        body: net::Frames,
    ) -> Result<(), zmq::Error> {
        let asked_at = self.counters.iter_mut().find(|counter| counter.gave(ticket));
        asked_at.map_or(Ok(()), |counter| counter.answer(now, ticket, body))
    }

    /// Has changes written when that is due.
    fn keep(&mut self, now: Instant) {
        let Some(keeping) = &mut self.keeping else { return };
        if keeping.under_way || now < keeping.due {
            return;
        }
        keeping.due = now + KEEP_EVERY;
        let changes = self.machine.take_changes();
        let changed = !changes.puts.is_empty() || !changes.removes.is_empty();
        if changed || keeping.place_due <= now {
            keeping.place_due = now + KEEP_PLACE_EVERY;
            keeping.under_way = true;
            keeping.keeper.keep(changes, keeping.checkpoint.clone());
        }
    }

    fn say_figures(&mut self, now: Instant) {
        if self.progress.figures_due.is_none_or(|at| at <= now) {
            if self.progress.figures_due.is_some() {
                log::info!("{}", self.machine.figures());
            }
            self.progress.figures_due = Some(now + FIGURES_EVERY);
        }
    }

    fn sleep(&self, now: Instant) -> Result<(), zmq::Error> {
        let counters = self.counters.iter().filter_map(|counter| counter.deadline(now));
        let callers = self.callers.iter().filter_map(|caller| caller.deadline(now));
        let keeping = self.keeping.iter().filter(|keeping| !keeping.under_way);
        let keeping = keeping.map(|keeping| keeping.due);
        let deadlines = counters.chain(callers).chain(keeping).chain(self.machine.deadline());
        let deadline = deadlines.min().unwrap_or(now + TICK);
        let sockets = self.counters.iter().filter_map(Counter::socket);
        let sockets = sockets.chain(self.callers.iter().filter_map(Caller::socket));
        let mut items: Vec<PollItem<'_>> = vec![self.waker.poll_item()];
        items.extend(sockets.map(|socket| socket.as_poll_item(POLLIN)));
        net::poll(&mut items, Some(deadline.saturating_duration_since(now)))?;
        self.waker.drain();
        Ok(())
    }

    /// Says goodbye, ends the other threads, and has the last changes written.
    fn leave(mut self) -> Result<(), zmq::Error> {
        let now = clock();
        let cut = matches!(self.lifecycle.fatal(), Some(super::Fatal::Cut(_)));
        self.follower.stop.request();
        let left = self.counters.into_iter().try_for_each(|counter| counter.leave(now));
        let left = left.and(self.callers.into_iter().try_for_each(|caller| caller.leave(now)));
        if let Some(Keeping { keeper, checkpoint, .. }) = self.keeping {
            if cut {
                keeper.forget();
            } else {
                keeper.keep(self.machine.take_changes(), checkpoint);
            }
            keeper.end();
        }
        self.readers.end();
        // A thread that panicked has said so to the lifecycle.
        let _ = self.follower.thread.join();
        left
    }
}

/// The clock and the calendar, read together.
fn now() -> Now {
    Now { instant: clock(), unix_ms: unix_ms() }
}

#[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
pub(super) fn clock() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a loop reads the calendar")]
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
