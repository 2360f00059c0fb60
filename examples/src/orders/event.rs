//! What can happen to an order, and how each event looks as JSON.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An event of an order. The name of the variant is the event type; the fields are the JSON data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    /// A customer opened the order.
    OrderPlaced {
        /// Number of the customer.
        customer: u64,
        /// Where it goes to: ISO 3166 alpha-2.
        country: String,
        /// ISO 4217.
        currency: String,
    },
    /// Goods were put into the order.
    ItemAdded {
        /// Article number.
        sku: String,
        /// Name at that time.
        name: String,
        /// Pieces.
        quantity: u64,
        /// Price of one piece, in hundredths of the currency.
        unit_price_cents: u64,
    },
    /// Goods were taken out again, at the price at which they went in.
    ItemRemoved {
        /// Article number.
        sku: String,
        /// Pieces.
        quantity: u64,
        /// Price of one piece, in hundredths of the currency.
        unit_price_cents: u64,
    },
    /// The parcel goes elsewhere.
    AddressChanged {
        /// Street and number.
        street: String,
        /// Town.
        town: String,
    },
    /// Money came in.
    PaymentReceived {
        /// In hundredths of the currency.
        amount_cents: u64,
        /// `card`, `invoice` or `transfer`.
        method: String,
    },
    /// What was paid for left the warehouse.
    OrderShipped {
        /// Who carries it.
        carrier: String,
        /// Number of parcels.
        parcels: u64,
    },
    /// The customer changed their mind.
    OrderCancelled {
        /// In their words.
        reason: String,
    },
}

/// Why stored bytes are no order event.
#[derive(Debug, Error)]
#[error("an event of type {event_type} does not read as an order event: {reason}")]
pub struct OrderEventError {
    event_type: String,
    reason: serde_json::Error,
}

/// The two halves of an [`OrderEvent`] as the store keeps them.
#[derive(Serialize, Deserialize)]
struct Halves<T> {
    #[serde(rename = "type")]
    event_type: String,
    data: T,
}

impl OrderEvent {
    /// Type and JSON data, ready to be appended.
    ///
    /// # Errors
    /// [`OrderEventError`] if JSON cannot hold it, which no variant brings about.
    pub fn encode(&self) -> Result<(String, Vec<u8>), OrderEventError> {
        let refused = |reason| OrderEventError { event_type: String::from("?"), reason };
        let value = serde_json::to_value(self).map_err(refused)?;
        let halves: Halves<serde_json::Value> = serde_json::from_value(value).map_err(refused)?;
        let data = serde_json::to_vec(&halves.data).map_err(refused)?;
        Ok((halves.event_type, data))
    }

    /// The event of a type and its JSON data.
    ///
    /// # Errors
    /// [`OrderEventError`] for a type that is not ours, or for data of another shape.
    pub fn decode(event_type: &str, data: &[u8]) -> Result<Self, OrderEventError> {
        let refused = |reason| OrderEventError { event_type: event_type.to_owned(), reason };
        let data: serde_json::Value = serde_json::from_slice(data).map_err(refused)?;
        let halves = Halves { event_type: event_type.to_owned(), data };
        serde_json::to_value(halves).and_then(serde_json::from_value).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_comes_back() {
        let text = |text: &str| text.to_owned();
        let events = [
            OrderEvent::OrderPlaced { customer: 7, country: text("DE"), currency: text("EUR") },
            OrderEvent::ItemAdded {
                sku: text("TEA-01"),
                name: text("Grüner Tee"),
                quantity: 2,
                unit_price_cents: 1_250,
            },
            OrderEvent::ItemRemoved { sku: text("TEA-01"), quantity: 1, unit_price_cents: 1_250 },
            OrderEvent::AddressChanged { street: text("Lindenweg 4"), town: text("Kiel") },
            OrderEvent::PaymentReceived { amount_cents: 1_250, method: text("card") },
            OrderEvent::OrderShipped { carrier: text("DHL"), parcels: 1 },
            OrderEvent::OrderCancelled { reason: text("changed my mind") },
        ];
        for event in events {
            let (event_type, data) = event.encode().unwrap();
            assert_eq!(OrderEvent::decode(&event_type, &data).unwrap(), event);
        }
    }

    #[test]
    fn strangers_are_refused() {
        assert!(OrderEvent::decode("UserRegistered", b"{}").is_err());
        assert!(OrderEvent::decode("OrderShipped", b"{\"carrier\":1}").is_err());
        assert!(OrderEvent::decode("OrderShipped", b"\xff").is_err());
    }
}
