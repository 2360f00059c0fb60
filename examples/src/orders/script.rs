//! What happens to one order, drawn from a seed: the customer, so to speak.

use store::{ContentType, EventId, EventType, NewEvent, Signature, StreamName, Version};
use uuid::Uuid;

use crate::{
    batch::{Batch, BatchError},
    orders::{Order, OrderEvent, Status},
    random::Random,
};

/// Orders of big customers that are filled, paid and delivered for ever: the hot streams.
pub const STANDING_ORDERS: u64 = 12;

/// Most events in one append.
const BATCH_EVENTS_MAX: usize = 5;

/// Ids are named inside this namespace, so that they never meet those of another program.
const NAMESPACE: Uuid = Uuid::from_u128(0x5f1c_7d2a_0b1e_5c4f_9e65_3a1d_4b77_0c11);

const CATALOGUE: [(&str, &str, u64); 12] = [
    ("TEA-01", "Sencha, 100 g", 890),
    ("TEA-02", "Assam, 250 g", 1_150),
    ("TEA-03", "Oolong, 50 g", 1_490),
    ("POT-01", "Iron teapot", 6_900),
    ("POT-02", "Glass teapot", 3_450),
    ("CUP-01", "Cup, set of four", 2_800),
    ("CUP-02", "Travel mug", 1_990),
    ("KET-01", "Kettle with thermometer", 8_900),
    ("HON-01", "Heather honey", 790),
    ("BIS-01", "Shortbread", 450),
    ("FIL-01", "Paper filters, 100", 320),
    ("SCL-01", "Pocket scale", 2_250),
];
const COUNTRIES: [(&str, &str); 6] =
    [("DE", "EUR"), ("FR", "EUR"), ("GB", "GBP"), ("US", "USD"), ("JP", "JPY"), ("SE", "SEK")];
const TOWNS: [&str; 6] = ["Kiel", "Lyon", "Leeds", "Austin", "Uji", "Malmö"];
const STREETS: [&str; 5] = ["Lindenweg", "Rue du Port", "Mill Lane", "Elm Street", "Storgatan"];
const METHODS: [&str; 3] = ["card", "invoice", "transfer"];
const CARRIERS: [&str; 4] = ["DHL", "La Poste", "Royal Mail", "Yamato"];
const REASONS: [&str; 3] = ["changed my mind", "found it cheaper", "ordered twice"];

/// One order and what its customer will do with it.
#[derive(Debug)]
pub struct OrderScript {
    stream: StreamName,
    standing: bool,
    random: Random,
    order: Order,
    version: Version,
    seconds: u64,
    patience: u64,
}

impl OrderScript {
    /// Order `index` of the data set with `seed`; the first [`STANDING_ORDERS`] are the hot ones.
    ///
    /// # Errors
    /// [`BatchError`] if the stream cannot be named.
    pub fn new(seed: u64, index: u64) -> Result<Self, BatchError> {
        let standing = index < STANDING_ORDERS;
        let name = if standing {
            format!("order-{seed:x}-standing-{index}")
        } else {
            format!("order-{seed:x}-{index:06}")
        };
        let mut random = Random::for_part(seed, index);
        let patience = random.between(2, 6);
        Ok(Self {
            stream: StreamName::new(name)?,
            standing,
            random,
            order: Order::default(),
            version: Version::ZERO,
            seconds: index * 7,
            patience,
        })
    }

    /// Whether nothing more happens to this order.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        !self.standing && matches!(self.order.status, Status::Shipped | Status::Cancelled)
    }

    /// The aggregate's state after the batches handed out so far.
    #[must_use]
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// What the customer does next, decided from the order's own state.
    ///
    /// # Errors
    /// [`BatchError`] if an event cannot be encoded.
    pub fn next_batch(&mut self) -> Result<Batch, BatchError> {
        let after = self.version;
        let decided = self.decide();
        let mut events = Vec::with_capacity(decided.len());
        for event in decided {
            self.order.apply(&event);
            self.version = self.version.next();
            events.push(self.new_event(&event)?);
        }
        Ok(Batch { stream: self.stream.clone(), after, events })
    }

    fn decide(&mut self) -> Vec<OrderEvent> {
        match self.order.status {
            Status::Unknown => {
                let mut events = vec![self.placed()];
                events.extend(self.items(2));
                events
            }
            Status::Paid => vec![self.shipped()],
            Status::Shipped | Status::Cancelled => self.items(BATCH_EVENTS_MAX),
            Status::Open => self.go_on(),
        }
    }

    fn go_on(&mut self) -> Vec<OrderEvent> {
        self.patience = self.patience.saturating_sub(1);
        if self.patience > 0 {
            return match self.random.below(10) {
                0 => vec![self.moved()],
                1 | 2 => self.removed().map_or_else(|| self.items(1), |event| vec![event]),
                _ => self.items(BATCH_EVENTS_MAX - 1),
            };
        }
        self.patience = self.random.between(2, 6);
        if !self.standing && self.random.chance(8) {
            let reason = self.text(&REASONS);
            return vec![OrderEvent::OrderCancelled { reason }];
        }
        let mut events = if self.order.due_cents() == 0 { self.items(1) } else { Vec::new() };
        let extra: u64 = events.iter().map(price_cents).sum();
        let amount_cents = self.order.due_cents() + extra;
        let method = self.text(&METHODS);
        events.push(OrderEvent::PaymentReceived { amount_cents, method });
        events
    }

    fn placed(&mut self) -> OrderEvent {
        let (country, currency) = self.random.choose(&COUNTRIES).copied().unwrap_or(("DE", "EUR"));
        OrderEvent::OrderPlaced {
            customer: self.random.between(1, 5_000),
            country: country.to_owned(),
            currency: currency.to_owned(),
        }
    }

    /// One to `most` additions.
    fn items(&mut self, most: usize) -> Vec<OrderEvent> {
        let most = u64::try_from(most).unwrap_or(1);
        let count = self.random.between(1, most);
        (0..count).map(|_| self.added()).collect()
    }

    fn added(&mut self) -> OrderEvent {
        // The square of a draw favours the top of the catalogue: some goods sell better.
        let wide = self.random.below(12) * self.random.below(12) / 12;
        let row = usize::try_from(wide).unwrap_or(0);
        let (sku, name, unit_price_cents) = CATALOGUE.get(row).copied().unwrap_or(CATALOGUE[0]);
        OrderEvent::ItemAdded {
            sku: sku.to_owned(),
            name: name.to_owned(),
            quantity: self.random.between(1, 4),
            unit_price_cents,
        }
    }

    fn removed(&mut self) -> Option<OrderEvent> {
        let lines: Vec<_> = self.order.lines.iter().collect();
        let (sku, line) = self.random.choose(&lines)?;
        Some(OrderEvent::ItemRemoved {
            sku: (*sku).clone(),
            quantity: self.random.between(1, line.quantity),
            unit_price_cents: line.unit_price_cents,
        })
    }

    fn moved(&mut self) -> OrderEvent {
        let street = format!("{} {}", self.text(&STREETS), self.random.between(1, 120));
        OrderEvent::AddressChanged { street, town: self.text(&TOWNS) }
    }

    fn shipped(&mut self) -> OrderEvent {
        OrderEvent::OrderShipped {
            carrier: self.text(&CARRIERS),
            parcels: self.random.between(1, 3),
        }
    }

    fn text(&mut self, choices: &[&str]) -> String {
        self.random.choose(choices).copied().unwrap_or_default().to_owned()
    }

    fn new_event(&mut self, event: &OrderEvent) -> Result<NewEvent, BatchError> {
        let (event_type, data) = event.encode()?;
        // The shop's own time, from the script and not from the clock: the bytes stay the same.
        self.seconds += self.random.between(1, 90);
        let metadata = format!(
            "{{\"shop_second\":{},\"clerk\":\"desk-{}\"}}",
            self.seconds,
            self.random.between(1, 9)
        );
        let id = EventId(Uuid::new_v5(
            &NAMESPACE,
            format!("{}/{}", self.stream, self.version).as_bytes(),
        ));
        let event_type = EventType::new(event_type)?;
        let mut event =
            NewEvent::new(event_type, ContentType::Json, data).with_id(id).with_metadata(metadata);
        event.signature = Some(Signature::of(&self.stream, &event));
        Ok(event)
    }
}

fn price_cents(event: &OrderEvent) -> u64 {
    match event {
        OrderEvent::ItemAdded { quantity, unit_price_cents, .. } => quantity * unit_price_cents,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn batches(seed: u64, index: u64, count: usize) -> Vec<Batch> {
        let mut script = OrderScript::new(seed, index).unwrap();
        std::iter::from_fn(|| (!script.is_over()).then(|| script.next_batch().unwrap()))
            .take(count)
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let first = batches(3, 20, 50);
        let again = batches(3, 20, 50);
        assert_eq!(format!("{first:?}"), format!("{again:?}"));
        assert_ne!(format!("{first:?}"), format!("{:?}", batches(4, 20, 50)));
    }

    #[test]
    fn versions_follow_each_other_and_ids_are_unique() {
        let mut ids = BTreeSet::new();
        let mut types = BTreeSet::new();
        for index in 0..200 {
            let mut version = Version::ZERO;
            for batch in batches(1, index, 40) {
                assert_eq!(batch.after, version);
                assert!((1..=BATCH_EVENTS_MAX).contains(&batch.events.len()));
                for event in batch.events {
                    version = version.next();
                    assert!(ids.insert(event.id), "{} twice", event.id);
                    types.insert(event.event_type.as_str().to_owned());
                    assert_eq!(event.signature, Some(Signature::of(&batch.stream, &event)));
                    assert!(OrderEvent::decode(event.event_type.as_str(), &event.data).is_ok());
                }
            }
        }
        assert_eq!(types.len(), 7, "every kind of event occurs: {types:?}");
    }

    #[test]
    fn cold_orders_end_and_standing_orders_do_not() {
        for index in STANDING_ORDERS..STANDING_ORDERS + 300 {
            let lives: usize = batches(9, index, 1_000).iter().map(|b| b.events.len()).sum();
            assert!((3..200).contains(&lives), "order {index} has {lives} events");
        }
        assert_eq!(batches(9, 0, 1_000).len(), 1_000);
    }
}
