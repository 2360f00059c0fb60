//! A reader's end of a read that the background thread carries on.

use std::time::Duration;

use broker::net::Waker;
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, unbounded};
use store::wire::replay::{Read, RequestNumber};

use super::Client;
use super::command::{Command, ReadEvent, ReadSink};

/// What a look at a read gives.
#[derive(Debug)]
pub(crate) enum Next {
    /// Something came.
    Event(ReadEvent),
    /// Nothing yet.
    Nothing,
    /// Nothing will come any more; start again.
    Lost,
}

/// A read under way. Dropping it cancels the read.
#[derive(Debug)]
pub(crate) struct OpenRead {
    client: Client,
    request: RequestNumber,
    /// Bounded by credit: the background thread ends a read that overdraws it.
    events: Receiver<ReadEvent>,
    silent: bool,
    /// Its last event was seen: neither client nor store know it any more.
    ended: bool,
}

impl OpenRead {
    /// Starts a read at a replayer; the number in `read` is replaced.
    pub(crate) fn start(
        client: &Client,
        endpoint: &str,
        mut read: Read,
        waker: Option<Waker>,
    ) -> Self {
        let request = client.next_request();
        read.request = request;
        let (sender, events) = unbounded();
        client.command(Command::Read {
            endpoint: endpoint.to_owned(),
            read: Box::new(read),
            events: ReadSink::new(sender, waker),
        });
        Self { client: client.clone(), request, events, silent: false, ended: false }
    }

    /// Waits for what comes next.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Next {
        match self.events.recv_timeout(timeout) {
            Ok(event) => self.event(event),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Lost,
        }
    }

    /// What is there already.
    pub(crate) fn look(&mut self) -> Next {
        match self.events.try_recv() {
            Ok(event) => self.event(event),
            Err(TryRecvError::Empty) => Next::Nothing,
            Err(TryRecvError::Disconnected) => Next::Lost,
        }
    }

    fn event(&mut self, event: ReadEvent) -> Next {
        self.ended = match &event {
            ReadEvent::Block(block) => block.end,
            ReadEvent::Refused(_) => true,
        };
        Next::Event(event)
    }

    /// Lets the store send up to this many bytes in all.
    pub(crate) fn grant(&self, credit_bytes: u64) {
        self.client.command(Command::Credit { request: self.request, credit_bytes });
    }

    /// Gives the read up because the store says nothing.
    pub(crate) fn give_up(mut self) {
        self.silent = true;
    }
}

impl Drop for OpenRead {
    fn drop(&mut self) {
        // The client's thread is not woken for a read that it has forgotten.
        if !self.ended {
            let (request, silent) = (self.request, self.silent);
            self.client.command(Command::Cancel { request, silent });
        }
    }
}
