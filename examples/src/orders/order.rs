//! The aggregate: what an order knows from its own events, and what it allows next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::orders::OrderEvent;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No event yet.
    #[default]
    Unknown,
    /// Being filled.
    Open,
    /// Paid in full, waiting for the parcel service.
    Paid,
    /// Under way to the customer.
    Shipped,
    /// Called off.
    Cancelled,
}

/// A line of an order: so many pieces at this price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Pieces.
    pub quantity: u64,
    /// Price of one, in hundredths of the currency.
    pub unit_price_cents: u64,
}

/// State of one order, folded from its stream; also the document that the `orders` view keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Order {
    /// Where it stands.
    pub status: Status,
    /// What lies in it and is not shipped yet, by article number.
    pub lines: BTreeMap<String, Line>,
    /// Money received that no shipment has used up, in hundredths.
    pub paid_cents: u64,
}

impl Order {
    /// What the open lines cost, in hundredths.
    #[must_use]
    pub fn total_cents(&self) -> u64 {
        self.lines.values().map(|line| line.quantity * line.unit_price_cents).sum()
    }

    /// What is still to be paid, in hundredths.
    #[must_use]
    pub fn due_cents(&self) -> u64 {
        self.total_cents().saturating_sub(self.paid_cents)
    }

    /// Takes one event of the order's own stream into account.
    pub fn apply(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::OrderPlaced { .. } => self.status = Status::Open,
            OrderEvent::ItemAdded { sku, quantity, unit_price_cents, .. } => {
                let line = self
                    .lines
                    .entry(sku.clone())
                    .or_insert(Line { quantity: 0, unit_price_cents: *unit_price_cents });
                line.quantity += quantity;
                self.status = Status::Open;
            }
            OrderEvent::ItemRemoved { sku, quantity, .. } => {
                if let Some(line) = self.lines.get_mut(sku) {
                    line.quantity = line.quantity.saturating_sub(*quantity);
                }
                self.lines.retain(|_, line| line.quantity > 0);
            }
            OrderEvent::AddressChanged { .. } => {}
            OrderEvent::PaymentReceived { amount_cents, .. } => {
                self.paid_cents += amount_cents;
                if self.due_cents() == 0 {
                    self.status = Status::Paid;
                }
            }
            OrderEvent::OrderShipped { .. } => {
                self.paid_cents = self.paid_cents.saturating_sub(self.total_cents());
                self.lines.clear();
                self.status = Status::Shipped;
            }
            OrderEvent::OrderCancelled { .. } => self.status = Status::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(sku: &str, quantity: u64) -> OrderEvent {
        let (sku, name) = (sku.to_owned(), sku.to_owned());
        OrderEvent::ItemAdded { sku, name, quantity, unit_price_cents: 100 }
    }

    #[test]
    fn an_order_from_placed_to_shipped() {
        let mut order = Order::default();
        order.apply(&OrderEvent::OrderPlaced {
            customer: 1,
            country: String::from("FR"),
            currency: String::from("EUR"),
        });
        order.apply(&added("A", 3));
        order.apply(&added("B", 1));
        let sku = String::from("B");
        order.apply(&OrderEvent::ItemRemoved { sku, quantity: 1, unit_price_cents: 100 });
        assert_eq!((order.status, order.due_cents(), order.lines.len()), (Status::Open, 300, 1));
        let method = String::from("card");
        order.apply(&OrderEvent::PaymentReceived { amount_cents: 300, method });
        assert_eq!((order.status, order.due_cents()), (Status::Paid, 0));
        order.apply(&OrderEvent::OrderShipped { carrier: String::from("DHL"), parcels: 1 });
        assert_eq!((order.status, order.paid_cents, order.total_cents()), (Status::Shipped, 0, 0));
    }
}
