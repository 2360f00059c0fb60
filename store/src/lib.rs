//! Front page to come.
pub mod event;
pub mod names;
