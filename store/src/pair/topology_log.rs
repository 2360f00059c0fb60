//! The configurations of a pair as events in its own logs.
//!
//! | stream | type | content |
//! |---|---|---|
//! | `$topology` | `ConfigurationChanged` | JSON: lineage, epoch, leader, members, own floor |
//!
//! The id of such an event is made of lineage and epoch, and its content of what the witness has
//! decided, so that every leader writes the same one: what is in the log already is not written
//! again.

use broker::witness::{Configuration, PartitionName};
use uuid::Uuid;

use crate::event::{ContentType, EventId, ExpectedVersion, NewEvent};
use crate::names::{EventType, NameError, StreamName};
use crate::{Append, Origin, Submission};

/// The stream of these events, in each partition.
pub const TOPOLOGY_STREAM: &str = "$topology";
/// Their type.
pub const CONFIGURATION_CHANGED: &str = "ConfigurationChanged";

/// Appends that bring a partition's `$topology` stream up to date.
///
/// # Errors
/// [`NameError`] never: the names above are valid, as a test shows.
pub fn submission(
    history: &[Configuration],
    partition: &PartitionName,
) -> Result<Submission, NameError> {
    let appends = history.iter().map(|configuration| append(configuration, partition));
    let appends = appends.collect::<Result<Vec<_>, _>>()?;
    let partition = partition.clone();
    let answer = Box::new(move |results: Vec<Result<_, crate::AppendError>>| {
        for error in results.into_iter().filter_map(Result::err) {
            // The reign ended before it committed; the next one writes it.
            log::debug!("{}: a configuration was not recorded: {error}", partition.0);
        }
    });
    Ok(Submission { origin: Origin::System, ..Submission::new(appends, answer) })
}

fn append(configuration: &Configuration, partition: &PartitionName) -> Result<Append, NameError> {
    let event = event(configuration, partition)?;
    let stream: StreamName = TOPOLOGY_STREAM.parse()?;
    Ok(Append::to(stream, ExpectedVersion::Any, vec![event]))
}

fn event(configuration: &Configuration, partition: &PartitionName) -> Result<NewEvent, NameError> {
    let id = |name: &str| Uuid::new_v5(&configuration.lineage.0, name.as_bytes());
    let event_type: EventType = CONFIGURATION_CHANGED.parse()?;
    let mut event = NewEvent::new(event_type, ContentType::Json, json(configuration, partition));
    event.id = EventId(id(&format!("epoch {}", configuration.epoch)));
    Ok(event)
}

/// Written by hand, because every byte must be the same whoever writes it.
fn json(configuration: &Configuration, partition: &PartitionName) -> String {
    let Configuration { lineage, epoch, leader, members, floor } = configuration;
    let floor = floor.get(partition).copied().unwrap_or_default();
    let members = members.iter().map(|member| format!("\"{}\"", member.0));
    let members = members.collect::<Vec<_>>().join(",");
    format!(
        "{{\"lineage\":\"{}\",\"epoch\":{epoch},\"leader\":\"{}\",\"members\":[{members}],\
         \"floor\":{floor}}}",
        lineage.0, leader.0
    )
}

#[cfg(test)]
mod tests {
    use broker::witness::{Incarnation, Lineage};

    use super::*;
    use crate::event::Signature;

    fn configuration(epoch: u64) -> Configuration {
        let incarnation = |number| Incarnation(Uuid::from_u128(number));
        Configuration {
            lineage: Lineage(Uuid::from_u128(9)),
            epoch,
            leader: incarnation(1),
            members: vec![incarnation(1), incarnation(2)],
            floor: [(PartitionName("orders/0".into()), 17)].into(),
        }
    }

    #[test]
    fn every_leader_writes_the_same_event() {
        let name = PartitionName("orders/0".into());
        let (one, other) =
            (event(&configuration(5), &name).unwrap(), event(&configuration(5), &name).unwrap());
        assert_eq!(one, other);
        let stream: StreamName = TOPOLOGY_STREAM.parse().unwrap();
        assert!(stream.is_system());
        assert_eq!(Signature::of(&stream, &one), Signature::of(&stream, &other));
        assert_ne!(one.id, event(&configuration(6), &name).unwrap().id);
        assert_eq!(
            std::str::from_utf8(&one.data).unwrap(),
            "{\"lineage\":\"00000000-0000-0000-0000-000000000009\",\"epoch\":5,\
             \"leader\":\"00000000-0000-0000-0000-000000000001\",\
             \"members\":[\"00000000-0000-0000-0000-000000000001\",\
             \"00000000-0000-0000-0000-000000000002\"],\"floor\":17}"
        );
        let elsewhere = event(&configuration(5), &PartitionName("orders/1".into())).unwrap();
        assert!(elsewhere.data.ends_with(b"\"floor\":0}"));
    }

    #[test]
    fn a_submission_has_an_append_for_each_configuration() {
        let history: Vec<_> = (1..=16).map(configuration).collect();
        let submission = submission(&history, &PartitionName("orders/0".into())).unwrap();
        assert_eq!(submission.appends.len(), 16);
        assert_eq!(submission.origin, Origin::System);
    }
}
