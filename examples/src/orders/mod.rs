//! The built-in data set: orders of a small wholesale and mail-order shop.
//!
//! ```text
//!   stream               life                                      temperature
//!   order-SEED-000123    placed, filled, paid, shipped: 4-15       cold: touched for a moment
//!   order-SEED-standing-3  filled, paid, delivered, without end    hot: always busy
//! ```
//!
//! Every stream draws from a generator of its own, and its ids come from its name and versions.
//! So the same seed gives the same streams byte for byte, however threads interleave, and a
//! second run into the same store finds its events there already.

mod desk;
mod event;
mod order;
mod script;

pub use desk::OrderDesk;
pub use event::{OrderEvent, OrderEventError};
pub use order::{Order, Status};
pub use script::{OrderScript, STANDING_ORDERS};
