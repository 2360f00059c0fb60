//! The conversation with the witness.

use std::time::Instant;

use broker::net;
use broker::witness::{Token, WitnessId, WitnessRequest, decode_answer, encode_request};
use bytes::Bytes;

use super::{PairLoop, ROUND_MESSAGES};
use crate::pair::lease::Proof;
use crate::pair::protocol::Input;
use crate::pair::settings::PairError;

/// After so many times the patience without a word the connection is opened anew.
const REOPEN_TIMES: u32 = 3;

/// What is known of the witness.
#[derive(Default)]
pub(super) struct WitnessSide {
    /// Who has answered since the start.
    pub(super) id: Option<WitnessId>,
    pub(super) heard_at: Option<Instant>,
}

impl PairLoop {
    pub(super) fn send_to_witness(
        &mut self,
        request: &WitnessRequest,
        now: Instant,
    ) -> Result<(), PairError> {
        let token = Token(self.lease.send(now));
        let frames = encode_request(token, request).map(Bytes::from);
        Ok(self.links.witness.send(&frames)?)
    }

    pub(super) fn receive_from_witness(&mut self, now: Instant) -> Result<(), PairError> {
        for _ in 0..ROUND_MESSAGES {
            let Some(frames) = net::receive(&self.links.witness.socket)? else {
                break;
            };
            let (token, answer) = match decode_answer(&frames) {
                Ok(answer) => answer,
                Err(error) => {
                    log::warn!("{} sent no answer of a witness: {error}", self.settings.witness);
                    continue;
                }
            };
            if answer.member != self.me {
                continue;
            }
            self.witness.id = Some(answer.witness);
            self.witness.heard_at = Some(now);
            let epoch = answer.configuration.as_ref().map_or(0, |known| known.epoch);
            self.proved(Proof::Witness, token.0, epoch);
            self.give(Input::Witness(answer), now)?;
        }
        Ok(())
    }

    /// A way that was cut without our knowing never heals by itself.
    pub(super) fn watch_witness(&mut self, now: Instant) -> Result<(), PairError> {
        let opened = self.links.witness.opened_at();
        let since = self.witness.heard_at.map_or(opened, |heard| heard.max(opened));
        if now.saturating_duration_since(since) > self.patience() * REOPEN_TIMES {
            self.links.reopen_witness(now)?;
        }
        Ok(())
    }
}
