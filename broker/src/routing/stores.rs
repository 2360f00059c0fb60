//! Which stores there are, and how many partitions each has.

use std::collections::BTreeMap;

use crate::dialect::ServiceName;

/// Stores, by name. A store stays known after its last member left, until room is needed.
#[derive(Debug, Default)]
pub(super) struct Stores {
    partitions: BTreeMap<ServiceName, u16>,
}

/// What a service name means in the presence of the known stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Not a store's.
    Plain,
    /// The store itself.
    Store { partitions: u16 },
    /// A partition that the store has.
    Partition,
    /// A partition that the store does not have.
    Beyond { partitions: u16 },
}

impl Stores {
    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    pub(super) fn partitions(&self, store: &ServiceName) -> Option<u16> {
        self.partitions.get(store).copied()
    }

    pub(super) fn insert(&mut self, store: ServiceName, partitions: u16) {
        self.partitions.insert(store, partitions);
    }

    pub(super) fn remove(&mut self, store: &ServiceName) {
        self.partitions.remove(store);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ServiceName, u16)> {
        self.partitions.iter().map(|(name, partitions)| (name, *partitions))
    }

    pub(super) fn meaning(&self, service: &ServiceName) -> Meaning {
        if let Some(partitions) = self.partitions(service) {
            return Meaning::Store { partitions };
        }
        let Some((store, number)) = service.as_str().rsplit_once('/') else {
            return Meaning::Plain;
        };
        let Some(partitions) = self.partitions.get(store.as_bytes()).copied() else {
            return Meaning::Plain;
        };
        match number.parse::<u16>() {
            Ok(parsed) if parsed < partitions && parsed.to_string() == number => Meaning::Partition,
            _ => Meaning::Beyond { partitions },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_the_stores_make_of_them() {
        let name = |text: &'static str| ServiceName::new(text).unwrap();
        let mut stores = Stores::default();
        stores.insert(name("orders"), 2);
        let cases = [
            ("orders", Meaning::Store { partitions: 2 }),
            ("orders/0", Meaning::Partition),
            ("orders/1", Meaning::Partition),
            ("orders/2", Meaning::Beyond { partitions: 2 }),
            ("orders/01", Meaning::Beyond { partitions: 2 }),
            ("orders/", Meaning::Beyond { partitions: 2 }),
            ("orders/x", Meaning::Beyond { partitions: 2 }),
            ("order", Meaning::Plain),
            ("other/0", Meaning::Plain),
            ("orders/0/0", Meaning::Plain),
        ];
        for (text, meaning) in cases {
            assert_eq!(stores.meaning(&name(text)), meaning, "{text}");
        }
    }
}
