//! Whose turn it is to have a block read: peers in rotation, and the reads of each in rotation.
//!
//! A peer that asks for much waits for itself alone. One that does not take its blocks gets no
//! further ones, so that what we hold for it stays small.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::Ticket;
use crate::wire::replay::RequestNumber;

/// The reads of all peers, as far as turns are concerned.
#[derive(Debug)]
pub(super) struct Turns {
    peer_blocks_max: usize,
    blocks_max: usize,
    peers: BTreeMap<Bytes, Peer>,
    /// Peers that have ready reads, each once; the next one is in front.
    order: VecDeque<Bytes>,
    /// Blocks in hand for all peers.
    blocks: usize,
}

#[derive(Debug, Default)]
struct Peer {
    reads: BTreeMap<RequestNumber, Ticket>,
    /// Reads that want a turn; the next one is in front.
    ready: VecDeque<Ticket>,
    /// Whether it stands in the order.
    ordered: bool,
    /// Blocks that are being read for it, or that it has not taken.
    blocks: usize,
}

impl Turns {
    pub(super) fn new(peer_blocks_max: usize, blocks_max: usize) -> Self {
        let (peers, order) = (BTreeMap::new(), VecDeque::new());
        Self { peer_blocks_max, blocks_max, peers, order, blocks: 0 }
    }

    /// The read that a peer has under a number.
    pub(super) fn find(&self, peer: &Bytes, request: RequestNumber) -> Option<Ticket> {
        self.peers.get(peer)?.reads.get(&request).copied()
    }

    /// How many reads a peer has.
    pub(super) fn reads_of(&self, peer: &Bytes) -> usize {
        self.peers.get(peer).map_or(0, |peer| peer.reads.len())
    }

    /// Whether as many blocks are in hand as may be.
    pub(super) fn is_full(&self) -> bool {
        self.blocks >= self.blocks_max
    }

    /// Blocks in hand for all peers.
    #[cfg(test)]
    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }

    /// A peer has one more read.
    pub(super) fn add(&mut self, peer: &Bytes, request: RequestNumber, ticket: Ticket) {
        self.peers.entry(peer.clone()).or_default().reads.insert(request, ticket);
    }

    /// A read wants a turn.
    pub(super) fn wait(&mut self, name: &Bytes, ticket: Ticket) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.ready.push_back(ticket);
        if !peer.ordered {
            peer.ordered = true;
            self.order.push_back(name.clone());
        }
    }

    /// Gives the next turn; the peer has one more block in hand from now on.
    pub(super) fn give(&mut self) -> Option<Ticket> {
        if self.is_full() {
            return None;
        }
        for _ in 0..self.order.len() {
            let name = self.order.pop_front()?;
            let Some(peer) = self.peers.get_mut(&name) else { continue };
            let taken = (peer.blocks < self.peer_blocks_max).then(|| peer.ready.pop_front());
            let taken = taken.flatten();
            peer.blocks += usize::from(taken.is_some());
            peer.ordered = !peer.ready.is_empty();
            if peer.ordered {
                self.order.push_back(name);
            }
            if taken.is_some() {
                self.blocks += 1;
                return taken;
            }
        }
        None
    }

    /// A block that a peer had in hand is gone.
    pub(super) fn release(&mut self, peer: &Bytes) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.blocks = peer.blocks.saturating_sub(1);
            self.blocks = self.blocks.saturating_sub(1);
        }
    }

    /// A read is over; its block must have been released.
    pub(super) fn remove(&mut self, name: &Bytes, request: RequestNumber) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        if let Some(ticket) = peer.reads.remove(&request) {
            peer.ready.retain(|ready| *ready != ticket);
        }
        if peer.reads.is_empty() {
            self.remove_peer(name);
        }
    }

    /// A peer is gone with all its reads, which are returned.
    pub(super) fn remove_peer(&mut self, name: &Bytes) -> Vec<Ticket> {
        let Some(peer) = self.peers.remove(name) else { return Vec::new() };
        self.blocks = self.blocks.saturating_sub(peer.blocks);
        self.order.retain(|ordered| ordered != name);
        peer.reads.into_values().collect()
    }
}
