//! The links of one store process that others can cut.
//!
//! ```text
//!            +------- peer ------> --pair-listen of the other node
//!   store ---+------- witness ---> --witness-listen of the first broker
//!            +------- brokers ---> --listen, one for each broker
//! ```
//!
//! A pair has two peer links, one made by each node, and both carry messages both ways.

use broker::net::Endpoint;

use crate::{link::Link, topology::TopologyError};

/// The forwarders that a store process connects to instead of to the others themselves.
#[derive(Debug)]
pub struct StoreLinks {
    /// To the other node; `None` without a peer.
    pub peer: Option<Link>,
    /// To the witness; `None` without a peer.
    pub witness: Option<Link>,
    /// To each broker.
    pub brokers: Vec<Link>,
}

/// Where a store process is told to find the others: themselves, or its links.
#[derive(Debug, Clone)]
pub(super) struct Neighbours {
    pub(super) peer: Option<Endpoint>,
    pub(super) witness: Option<Endpoint>,
    pub(super) brokers: Vec<Endpoint>,
}

impl StoreLinks {
    /// A link to each neighbour.
    pub(super) fn start(neighbours: &Neighbours) -> Result<Self, TopologyError> {
        let link = |target: &Endpoint| {
            let link = Link::start()?;
            link.lead_to(target)?;
            Ok::<_, TopologyError>(link)
        };
        Ok(Self {
            peer: neighbours.peer.as_ref().map(link).transpose()?,
            witness: neighbours.witness.as_ref().map(link).transpose()?,
            brokers: neighbours.brokers.iter().map(link).collect::<Result<_, _>>()?,
        })
    }

    /// The endpoints of the links.
    pub(super) fn neighbours(&self) -> Result<Neighbours, TopologyError> {
        Ok(Neighbours {
            peer: self.peer.as_ref().map(Link::endpoint).transpose()?,
            witness: self.witness.as_ref().map(Link::endpoint).transpose()?,
            brokers: self.brokers.iter().map(Link::endpoint).collect::<Result<_, _>>()?,
        })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Link> {
        self.peer.iter().chain(&self.witness).chain(&self.brokers)
    }
}
