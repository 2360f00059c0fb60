//! Front page to come.
