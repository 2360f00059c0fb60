//! Views of the built-in data set.

use serde::{Deserialize, Serialize};
use store::Event;

use crate::{
    orders::{Order, OrderEvent},
    views::{Documents, FoldError, update},
};

/// What was sold of one article.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArticleSales {
    /// Pieces put into orders, less those taken out again.
    pub units: i64,
    /// Their price, in hundredths of whatever currency the orders are in.
    pub revenue_cents: i64,
}

/// What one country ordered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CountryOrders {
    /// Orders placed.
    pub orders: u64,
}

fn order_event(event: &Event) -> Option<OrderEvent> {
    OrderEvent::decode(event.event_type.as_str(), &event.data).ok()
}

/// Stream -> state of the order: what the aggregate itself would fold.
pub(super) fn fold_order(documents: &mut dyn Documents, event: &Event) -> Result<(), FoldError> {
    let Some(order_event) = order_event(event) else { return Ok(()) };
    update(documents, ("orders", event.stream.as_str()), |order: &mut Order| {
        order.apply(&order_event);
    })
}

/// Article -> units and revenue; country -> orders.
pub(super) fn fold_sales(documents: &mut dyn Documents, event: &Event) -> Result<(), FoldError> {
    let sold = |sku: &str, quantity: u64, unit_price_cents: u64, sign: i64| {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX) * sign;
        (sku.to_owned(), signed(quantity), signed(quantity * unit_price_cents))
    };
    let (sku, units, revenue_cents) = match order_event(event) {
        Some(OrderEvent::OrderPlaced { country, .. }) => {
            let count = |document: &mut CountryOrders| document.orders += 1;
            return update(documents, ("countries", &country), count);
        }
        Some(OrderEvent::ItemAdded { sku, quantity, unit_price_cents, .. }) => {
            sold(&sku, quantity, unit_price_cents, 1)
        }
        Some(OrderEvent::ItemRemoved { sku, quantity, unit_price_cents }) => {
            sold(&sku, quantity, unit_price_cents, -1)
        }
        _ => return Ok(()),
    };
    update(documents, ("sales", &sku), |sales: &mut ArticleSales| {
        sales.units += units;
        sales.revenue_cents += revenue_cents;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        orders::Status,
        views::{MemoryDocuments, tests::recorded},
    };

    #[test]
    fn an_order_is_seen_by_both_projections() {
        let mut documents = MemoryDocuments::default();
        let item = "{\"sku\":\"POT-01\",\"name\":\"Pot\",\"quantity\":3,\"unit_price_cents\":10}";
        let back = "{\"sku\":\"POT-01\",\"quantity\":1,\"unit_price_cents\":10}";
        let placed = "{\"customer\":1,\"country\":\"SE\",\"currency\":\"SEK\"}";
        for (event_type, data) in
            [("OrderPlaced", placed), ("ItemAdded", item), ("ItemRemoved", back), ("Other", "?")]
        {
            let event = recorded("order-1", event_type, data);
            fold_order(&mut documents, &event).unwrap();
            fold_sales(&mut documents, &event).unwrap();
        }
        let orders = documents.view::<Order>("orders").unwrap();
        assert_eq!((orders[0].0, orders[0].1.status), ("order-1", Status::Open));
        assert_eq!(orders[0].1.total_cents(), 20);
        let sold = ArticleSales { units: 2, revenue_cents: 20 };
        assert_eq!(documents.view::<ArticleSales>("sales").unwrap(), [("POT-01", sold)]);
        let swedish = CountryOrders { orders: 1 };
        assert_eq!(documents.view::<CountryOrders>("countries").unwrap(), [("SE", swedish)]);
    }
}
