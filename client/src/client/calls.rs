//! The way of calls: from callers' threads to the desk, and back to those who wait.

use std::time::Instant;

use broker::dialect::{ClientReply, ClientRequest};
use bytes::Bytes;

use super::admission::Admission;
use crate::call::CallError;
use crate::call::desk::{Call, CallConclusion, CallDesk, CallInput, CallOutput};
use crate::config::ClientConfig;
use crate::error::Unavailable;
use crate::pending::Promise;

/// Who waits for a call, and its place in the client.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) promise: Promise<Vec<Bytes>, CallError>,
    pub(super) submitted: Instant,
    pub(super) admission: Admission,
}

/// See the module's comment.
#[derive(Debug)]
pub(super) struct Calls {
    desk: CallDesk<Caller>,
    brokers: Vec<String>,
}

impl Calls {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let brokers = config.brokers.iter().map(ToString::to_string).collect();
        Self { desk: CallDesk::default(), brokers }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.desk.deadline()
    }

    pub(super) fn submit(
        &mut self,
        now: Instant,
        (call, caller): (Call, Caller),
        requests: &mut Vec<ClientRequest>,
    ) {
        self.give(now, CallInput::Submit(call, caller), requests);
    }

    /// The broker came or went.
    pub(super) fn link(&mut self, now: Instant, up: bool, requests: &mut Vec<ClientRequest>) {
        self.give(now, if up { CallInput::LinkUp } else { CallInput::LinkDown }, requests);
    }

    pub(super) fn reply(
        &mut self,
        now: Instant,
        reply: ClientReply,
        requests: &mut Vec<ClientRequest>,
    ) {
        self.give(now, CallInput::Reply(reply), requests);
    }

    pub(super) fn tick(&mut self, now: Instant, requests: &mut Vec<ClientRequest>) {
        self.give(now, CallInput::Tick, requests);
    }

    /// Tells everybody who still waits that the client is closed.
    pub(super) fn close(&mut self, now: Instant) {
        let mut outputs = Vec::new();
        self.desk.close(&mut outputs);
        self.carry_out(now, outputs, &mut Vec::new());
    }

    fn give(&mut self, now: Instant, input: CallInput<Caller>, requests: &mut Vec<ClientRequest>) {
        let mut outputs = Vec::new();
        self.desk.handle(now, input, &mut outputs);
        self.carry_out(now, outputs, requests);
    }

    fn carry_out(
        &self,
        now: Instant,
        outputs: Vec<CallOutput<Caller>>,
        requests: &mut Vec<ClientRequest>,
    ) {
        for output in outputs {
            match output {
                CallOutput::Send(request) => requests.push(request),
                CallOutput::Concluded(caller, conclusion) => {
                    self.conclude(now, caller, conclusion);
                }
            }
        }
    }

    fn conclude(&self, now: Instant, caller: Caller, conclusion: CallConclusion) {
        let waited = now.saturating_duration_since(caller.submitted);
        let result = match conclusion {
            CallConclusion::Replied(body) => Ok(body),
            CallConclusion::Refused(refusal) => Err(CallError::Refused(refusal)),
            CallConclusion::NeverLeft => {
                let brokers = self.brokers.clone();
                Err(CallError::Unavailable(Unavailable { brokers, waited }))
            }
            CallConclusion::Unknown { reason } => Err(CallError::Unknown { waited, reason }),
        };
        // Room is made first, so that a caller that got its result finds it.
        drop(caller.admission);
        caller.promise.fulfil(result);
    }
}
