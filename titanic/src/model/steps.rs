//! Everything that can happen next, as the checker asks for it.

use broker::error_code::ErrorCode;
use client::command::{CommandId, Step as Recorded};
use client::{ExpectedVersion, Sequence};
use stateright::{Model, Property};

use super::process::{LEASE, Process, Question};
use super::rules::Rule;
use super::world::{World, commands};
use crate::protocol::{AppendFailure, AppendTicket, CallFailure, Input};
use crate::record::Entry;

/// A bounded world to be searched.
#[derive(Clone, Debug)]
pub struct TitanicModel {
    pub begin: World,
    pub undone: Rule,
}

/// Something happens; of process `0` or `1`, to its nth append, look-up or call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Ask(usize, Question, CommandId),
    /// The store takes or refuses an append.
    Store(usize, usize),
    /// Its answer arrives.
    Answer(usize, usize),
    /// Its answer gets lost; the append may still be on its way.
    LoseAnswer(usize, usize),
    /// An append arrives that nobody waits for.
    StoreGhost(usize),
    Find(usize, usize),
    /// The next record comes from the feed.
    Hear(usize),
    /// A worker replies.
    Reply(usize, usize),
    /// It is lost, with the request.
    LoseWorker(usize, usize),
    /// There was none.
    NoWorker(usize, usize),
    Lease(usize),
    Tick(usize),
    Crash(usize),
    Start(usize),
}

impl Step {
    /// The process to which it happens.
    pub fn process(self) -> Option<usize> {
        match self {
            Step::Ask(of, ..)
            | Step::Store(of, _)
            | Step::Answer(of, _)
            | Step::LoseAnswer(of, _)
            | Step::Find(of, _)
            | Step::Hear(of)
            | Step::Reply(of, _)
            | Step::LoseWorker(of, _)
            | Step::NoWorker(of, _)
            | Step::Lease(of)
            | Step::Tick(of)
            | Step::Crash(of)
            | Step::Start(of) => Some(of),
            Step::StoreGhost(_) => None,
        }
    }
}

impl Model for TitanicModel {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![self.begin.clone()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.broken.is_some() {
            return;
        }
        for of in [0, 1] {
            match &world.processes[of] {
                Some(shared) => of_process(world, of, &shared.process, steps),
                None if world.budget.starts > 0 => steps.push(Step::Start(of)),
                None => {}
            }
        }
        steps.extend((0..world.ghosts.len()).map(Step::StoreGhost));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        take(&mut next, step, self.undone);
        if let Some(of) = step.process() {
            next.listen(of);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<TitanicModel>> {
        vec![
            Property::always("kept", |_, world: &World| {
                let is_there = |id: &CommandId| world.life(*id).is_none_or(|life| life.is_some());
                world.accepted.iter().all(is_there)
                    && world.broken != Some("an accepted command was called unknown")
            }),
            Property::always("replies", |_, world: &World| {
                let is_first =
                    |(id, body): (&CommandId, _)| world.replies(*id).next() == Some(body);
                world.fetched.iter().all(is_first)
                    && world.broken != Some("a fetched reply became another one")
            }),
            Property::always("log", |_, world: &World| {
                world.broken != Some("a process met an illegal step")
                    && commands(world.budget.commands).iter().all(|id| world.life(*id).is_some())
            }),
            Property::always("dispatched", |_, world: &World| {
                world.broken != Some("a worker got what no Dispatched announced")
            }),
            Property::always("closed", |_, world: &World| {
                world.broken != Some("an open command was called closed")
                    && world.broken != Some("a close was confirmed that is not in the log")
            }),
            Property::sometimes("a reply is fetched", |_, world: &World| !world.fetched.is_empty()),
            Property::sometimes("takeover", |_, world: &World| {
                happened(world, |step| match step {
                    Recorded::Failed { reason, .. } => reason.contains("gone"),
                    _ => false,
                })
            }),
            Property::sometimes("second attempt", |_, world: &World| {
                happened(world, |step| *step == Recorded::Dispatched { attempt: 2 })
            }),
            Property::sometimes("late reply", |_, world: &World| {
                commands(world.budget.commands).iter().any(|id| world.replies(*id).count() > 1)
            }),
            Property::sometimes("dead", |_, world: &World| {
                happened(world, |step| matches!(step, Recorded::Dead { .. }))
            }),
            Property::sometimes("requeued", |_, world: &World| {
                happened(world, |step| matches!(step, Recorded::Requeued { .. }))
            }),
            Property::sometimes("closed while it was with a worker", |_, world: &World| {
                let processes = world.processes.iter().flatten();
                let mut calls = processes.flat_map(|shared| &shared.process.calls);
                calls.any(|ticket| world.is_closed(ticket.command))
            }),
        ]
    }
}

fn happened(world: &World, is_it: impl Fn(&Recorded) -> bool) -> bool {
    world.log.iter().any(|entry| matches!(entry, Entry::Step(step) if is_it(&step.what)))
}

fn of_process(world: &World, of: usize, process: &Process, steps: &mut Vec<Step>) {
    let budget = &world.budget;
    for command in commands(budget.commands) {
        let questions = [
            (Question::Submit, budget.submits),
            (Question::Fetch, budget.fetches),
            (Question::Close, budget.closes),
            (Question::Requeue, budget.requeues),
        ];
        for (question, left) in questions {
            let is_asked = process.requests.values().any(|asked| *asked == (question, command));
            // The others make sense once the sender knows that there is a command.
            let is_early = question != Question::Submit && !world.accepted.contains(&command);
            if left > 0 && !is_asked && !is_early {
                steps.push(Step::Ask(of, question, command));
            }
        }
    }
    for (index, append) in process.appends.iter().enumerate() {
        steps.push(match append.result {
            None => Step::Store(of, index),
            Some(_) => Step::Answer(of, index),
        });
        if budget.unknowns > 0 {
            steps.push(Step::LoseAnswer(of, index));
        }
    }
    steps.extend((0..process.finds.len()).map(|index| Step::Find(of, index)));
    if process.position < world.log.len() {
        steps.push(Step::Hear(of));
    }
    for index in 0..process.calls.len() {
        steps.push(Step::Reply(of, index));
        if budget.losses > 0 {
            steps.push(Step::LoseWorker(of, index));
        }
        if budget.absences > 0 {
            steps.push(Step::NoWorker(of, index));
        }
    }
    if budget.leases > 0 {
        steps.push(Step::Lease(of));
    }
    if budget.ticks > 0 && process.has_deadline() {
        steps.push(Step::Tick(of));
    }
    if budget.crashes > 0 {
        steps.push(Step::Crash(of));
    }
}

fn take(world: &mut World, step: Step, rule: Rule) {
    match step {
        Step::Ask(of, question, command) => {
            let budget = &mut world.budget;
            let left = match question {
                Question::Submit => &mut budget.submits,
                Question::Fetch => &mut budget.fetches,
                Question::Close => &mut budget.closes,
                Question::Requeue => &mut budget.requeues,
            };
            *left -= 1;
            world.process(of).ask(question, command);
        }
        Step::Store(of, index) => store(world, (of, index), rule),
        Step::Answer(of, index) => {
            let append = world.process(of).appends.remove(index);
            answer(world, of, append.ticket, append.result.unwrap());
        }
        Step::LoseAnswer(of, index) => {
            world.budget.unknowns -= 1;
            let append = world.process(of).appends.remove(index);
            if append.result.is_none() {
                world.ghosts.push((append.entry, append.expected));
            }
            answer(world, of, append.ticket, Err(AppendFailure::Again));
        }
        Step::StoreGhost(index) => {
            let (entry, expected): (Entry, ExpectedVersion) = world.ghosts.remove(index);
            let _ = world.store(&entry, expected, rule);
        }
        Step::Find(of, index) => find(world, (of, index), rule),
        Step::Hear(of) => {
            let log = world.log.clone();
            world.process(of).hear(&log);
        }
        Step::Reply(of, index) => {
            let process = world.process(of);
            let ticket = process.calls.remove(index);
            let result = Ok(World::reply(process, ticket));
            process.handle(Input::Called { ticket, result });
        }
        Step::LoseWorker(of, index) => {
            world.budget.losses -= 1;
            fail(world.process(of), index, ErrorCode::WORKER_LOST);
        }
        Step::NoWorker(of, index) => {
            world.budget.absences -= 1;
            fail(world.process(of), index, ErrorCode::NO_WORKER);
        }
        Step::Lease(of) => {
            world.budget.leases -= 1;
            world.process(of).sleep(LEASE);
        }
        Step::Tick(of) => {
            world.budget.ticks -= 1;
            world.process(of).sleep_until_due();
        }
        Step::Crash(of) => {
            world.budget.crashes -= 1;
            world.crash(of);
        }
        Step::Start(of) => world.start(of),
    }
}

fn answer(
    world: &mut World,
    of: usize,
    ticket: AppendTicket,
    result: Result<Sequence, AppendFailure>,
) {
    world.process(of).handle(Input::Appended { ticket, result });
}

fn fail(process: &mut Process, index: usize, code: ErrorCode) {
    let ticket = process.calls.remove(index);
    let failure = CallFailure { code, text: String::new() };
    process.handle(Input::Called { ticket, result: Err(failure) });
}

fn store(world: &mut World, (of, index): (usize, usize), rule: Rule) {
    let append = world.process(of).appends[index].clone();
    if World::is_announced_before_commit(append.ticket, rule) {
        // It is said to be there, and may never be.
        world.process(of).appends.remove(index);
        world.ghosts.push((append.entry, append.expected));
        answer(world, of, append.ticket, Ok(super::process::sequence(world.log.len() + 1)));
        return;
    }
    let result = world.store(&append.entry, append.expected, rule);
    match append.ticket {
        // Nothing depends on when this answer comes.
        AppendTicket::Claim { .. } | AppendTicket::Sign => {
            world.process(of).appends.remove(index);
            answer(world, of, append.ticket, result);
        }
        AppendTicket::Step { .. } => world.process(of).appends[index].result = Some(result),
    }
}

fn find(world: &mut World, (of, index): (usize, usize), rule: Rule) {
    let (ticket, command) = world.process(of).finds.remove(index);
    let visible = match rule {
        Rule::LookUpsAreStrong => world.process(of).position,
        _ => world.log.len(),
    };
    let result = Ok(world.find(command, (ticket.from, ticket.count), (visible, rule)));
    world.process(of).handle(Input::Found { ticket, result });
}
