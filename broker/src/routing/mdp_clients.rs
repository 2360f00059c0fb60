//! Requests of MDP clients.

use super::RoutingTable;
use super::admission::Arrival;
use super::answers::{Answer, Failure};
use super::ids::PeerId;
use super::requests::Origin;
use super::stores::Meaning;
use crate::dialect::{ServiceName, flags};
use crate::error_code::ErrorCode;
use crate::mdp::Version;
use crate::mdp::message::MMI_PREFIX;
use crate::net::Frames;
use crate::slot;

/// Longest name of a stream, in bytes.
const STREAM_BYTES_MAX: usize = 256;

/// What an MDP client asked for, and in which version.
#[derive(Debug)]
pub(super) struct Asked {
    pub version: Version,
    pub service: ServiceName,
}

impl RoutingTable {
    pub(super) fn mdp_request(&mut self, peer: &PeerId, asked: Asked, body: Frames) {
        let Asked { version, service } = asked;
        let origin = Origin::Mdp { peer: peer.clone(), version, asked: service.clone() };
        if service.as_str().starts_with(MMI_PREFIX) {
            let body = self.mmi(&service, &body);
            self.reply(&origin, Answer { body, last: true, epoch: 0 });
            return;
        }
        let (service, flags) = match self.stores.meaning(&service) {
            Meaning::Plain => (service, 0),
            Meaning::Store { partitions } => match partition_of(&service, partitions, &body) {
                Ok(partition) => (partition, flags::PLAIN),
                Err(failure) => return self.refuse(&origin, failure),
            },
            Meaning::Partition | Meaning::Beyond { .. } => {
                let text = "a partition is not addressed by hand: send to the store's name";
                return self.refuse(&origin, Failure::new(ErrorCode::INVALID_ARGUMENT, text));
            }
        };
        self.admit(Arrival {
            origin,
            service,
            flags,
            lowest: 0,
            body,
            time_left: self.settings.request_expiry,
        });
    }
}

/// The partition to which the body's stream belongs.
fn partition_of(
    store: &ServiceName,
    partitions: u16,
    body: &Frames,
) -> Result<ServiceName, Failure> {
    let invalid = |text: &str| Failure::new(ErrorCode::INVALID_ARGUMENT, text);
    let [stream, _] = body.as_slice() else {
        return Err(invalid("a store takes two body frames: the stream's name and one map"));
    };
    let stream = str::from_utf8(stream).ok().filter(|name| {
        (1..=STREAM_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
    });
    let Some(stream) = stream else {
        return Err(invalid("the first body frame is a stream's name: 1 to 256 bytes of UTF-8"));
    };
    let partition = slot::partition(stream, partitions);
    ServiceName::partition(store.as_str(), partition)
        .ok_or_else(|| invalid("the store's name is too long"))
}
