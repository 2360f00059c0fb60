//! Broker and store compute slots by code of their own, because neither may import the other's.

use proptest::prelude::*;
use store::{Slot, StreamName};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn broker_and_store_agree_on_every_name(
        name in "[a-z0-9{}/$ä-]{1,40}", partitions in 1_u16..=1024
    ) {
        let stream = StreamName::try_from(name.as_str()).unwrap();
        let store = Slot::of(&stream).partition(partitions).0;
        prop_assert_eq!(store, broker::slot::partition(&name, partitions));
    }
}
