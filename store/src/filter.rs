//! Some of a partition's events, by their streams' names.

use crate::names::{CategoryName, StreamName};

/// Which events of a partition somebody wants. Their sequences ascend and have gaps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// Those of all streams of a category.
    Category(CategoryName),
    /// Those of one stream.
    Stream(StreamName),
}

/// The part of a stream's name before its first dash, or all of it.
pub(crate) fn category_of(stream: &[u8]) -> &[u8] {
    let end = stream.iter().position(|byte| *byte == b'-').unwrap_or(stream.len());
    stream.get(..end).unwrap_or(stream)
}

impl Filter {
    /// Whether a record whose stream has this name is among them.
    pub(crate) fn takes_bytes(&self, stream: &[u8]) -> bool {
        match self {
            Self::Category(category) => category_of(stream) == category.as_bytes(),
            Self::Stream(wanted) => stream == wanted.as_bytes(),
        }
    }

    /// Whether the events of this stream are among them.
    #[must_use]
    pub fn takes(&self, stream: &StreamName) -> bool {
        self.takes_bytes(stream.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken() {
        let category = Filter::Category("order".parse().unwrap());
        let stream = Filter::Stream("order-1".parse().unwrap());
        let rows = [
            ("order-1", true, true),
            ("order-2", true, false),
            ("order", true, false),
            ("orders-1", false, false),
            ("$order-1", false, false),
        ];
        for (name, in_category, in_stream) in rows {
            let name: StreamName = name.parse().unwrap();
            assert_eq!(category_of(name.as_bytes()), name.category().as_bytes());
            assert_eq!(category.takes(&name), in_category, "{name}");
            assert_eq!(stream.takes(&name), in_stream, "{name}");
        }
    }
}
