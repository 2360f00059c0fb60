//! The projections by name, for a projection host and for a fold in memory.

use std::{fmt, str::FromStr};

use client::{
    Batch,
    views::{HandleError, Projection, ViewBatch},
};
use store::Event;
use thiserror::Error;

use crate::views::{Documents, FoldError, audit, dump, orders};

/// One of the projections of the examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProjectionName {
    /// State of every order.
    Orders,
    /// Articles and countries.
    Sales,
    /// Posts per tag.
    PostsPerTag,
    /// Comments per user.
    CommentsPerUser,
    /// Rows per weekday.
    ActivityPerWeekday,
}

/// No such projection.
#[derive(Debug, Error)]
#[error("there is no projection {0:?}; there are: {names}", names = ProjectionName::names())]
pub struct UnknownProjection(String);

impl ProjectionName {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Orders,
        Self::Sales,
        Self::PostsPerTag,
        Self::CommentsPerUser,
        Self::ActivityPerWeekday,
    ];

    /// Its name: of the projection, and of its first view.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Sales => "sales",
            Self::PostsPerTag => "posts-per-tag",
            Self::CommentsPerUser => "comments-per-user",
            Self::ActivityPerWeekday => "activity-per-weekday",
        }
    }

    /// The views that it writes.
    #[must_use]
    pub const fn views(self) -> &'static [&'static str] {
        match self {
            Self::Orders => &["orders", "orders-audit"],
            Self::Sales => &["sales", "countries", "sales-audit"],
            Self::PostsPerTag => &["posts-per-tag", "posts-per-tag-audit"],
            Self::CommentsPerUser => &["comments-per-user", "comments-per-user-audit"],
            Self::ActivityPerWeekday => &["activity-per-weekday", "activity-per-weekday-audit"],
        }
    }

    /// The view in which it takes down what it has applied: the last one of its own.
    fn audit_view(self) -> &'static str {
        self.views().last().copied().unwrap_or_default()
    }

    /// Folds events of one partition, in their order, into documents.
    ///
    /// # Errors
    /// [`FoldError`] if the documents cannot be read, written or understood.
    pub fn fold(
        self,
        documents: &mut dyn Documents,
        partition: u16,
        events: &[Event],
    ) -> Result<(), FoldError> {
        let fold = match self {
            Self::Orders => orders::fold_order,
            Self::Sales => orders::fold_sales,
            Self::PostsPerTag => dump::fold_tags,
            Self::CommentsPerUser => dump::fold_comments,
            Self::ActivityPerWeekday => dump::fold_weekdays,
        };
        if events.is_empty() {
            return Ok(());
        }
        events.iter().try_for_each(|event| fold(documents, event))?;
        audit::fold(documents, (self.audit_view(), partition), events)
    }

    fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for ProjectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProjectionName {
    type Err = UnknownProjection;

    fn from_str(name: &str) -> Result<Self, UnknownProjection> {
        let found = Self::ALL.into_iter().find(|projection| projection.as_str() == name);
        found.ok_or_else(|| UnknownProjection(name.to_owned()))
    }
}

/// A projection as a [`client::views::ProjectionHost`] runs it.
#[derive(Debug)]
pub struct ViewProjection(pub ProjectionName);

impl Projection for ViewProjection {
    fn name(&self) -> &str {
        self.0.as_str()
    }

    fn version(&self) -> u32 {
        1
    }

    fn views(&self) -> &[&str] {
        self.0.views()
    }

    fn handle(&mut self, batch: &Batch, views: &mut ViewBatch<'_>) -> Result<(), HandleError> {
        Ok(self.0.fold(views, batch.partition.0, &batch.events)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for projection in ProjectionName::ALL {
            assert_eq!(projection.to_string().parse::<ProjectionName>().unwrap(), projection);
            assert_eq!(projection.views()[0], projection.as_str());
            assert_eq!(projection.audit_view(), format!("{projection}-audit"));
        }
        let error = "order".parse::<ProjectionName>().unwrap_err();
        assert!(error.to_string().contains("orders, sales"), "{error}");
    }
}
