//! What a run appends, and which views it is projected into.

use std::collections::BTreeSet;

use client::StoreHandle;

use crate::{
    dump::Dump,
    history::Acknowledged,
    orders::OrderDesk,
    quickstart::{load::Appender, load::LoadError, meter::Meter},
    table::{Table, grouped},
    views::{
        ArticleSales, CountryOrders, DayActivity, FoldError, MemoryDocuments, ProjectionName,
        TagPosts, UserComments,
    },
};

/// Appending threads for the built-in data set.
const DESKS: u64 = 8;
/// Appends that each of them keeps under way.
const DESK_WINDOW: usize = 32;
/// Appends under way while a dump is imported, by one thread, so that time runs forwards.
const IMPORT_WINDOW: usize = 256;
/// Rows that a table shows.
const TABLE_ROWS: usize = 8;

/// Where the events come from.
#[derive(Debug)]
pub enum Workload {
    /// The built-in data set.
    Orders {
        /// How many events, at least.
        events: u64,
        /// Which ones.
        seed: u64,
    },
    /// A Stack Exchange dump.
    Dump(Dump),
}

impl Workload {
    /// Events to expect; the built-in data set may end with a few more.
    #[must_use]
    pub fn events(&self) -> u64 {
        match self {
            Self::Orders { events, .. } => *events,
            Self::Dump(dump) => u64::try_from(dump.events.len()).unwrap_or(u64::MAX),
        }
    }

    /// In a few words.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Orders { seed, .. } => format!("orders of seed {seed}, from {DESKS} threads"),
            Self::Dump(dump) => {
                let files = dump.files.iter().map(|file| file.source.file_name());
                format!("rows of {}", files.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What each of the two projection hosts projects.
    #[must_use]
    pub fn projections(&self) -> Vec<Vec<ProjectionName>> {
        match self {
            Self::Orders { .. } => vec![vec![ProjectionName::Orders], vec![ProjectionName::Sales]],
            Self::Dump(_) => vec![
                vec![ProjectionName::PostsPerTag, ProjectionName::CommentsPerUser],
                vec![ProjectionName::ActivityPerWeekday],
            ],
        }
    }

    /// Starts the appending threads in `scope`.
    pub fn spawn<'scope, 'env: 'scope>(
        &'env self,
        scope: &'scope std::thread::Scope<'scope, 'env>,
        orders: &StoreHandle,
        meter: &'env Meter,
    ) -> Vec<std::thread::ScopedJoinHandle<'scope, Result<Vec<Acknowledged>, LoadError>>> {
        match self {
            Self::Orders { events, seed } => (0..DESKS)
                .map(|number| {
                    let appender = Appender::new(orders.clone(), meter, DESK_WINDOW);
                    let share = events.div_ceil(DESKS);
                    scope.spawn(move || {
                        let desk = OrderDesk::new(*seed, (number, DESKS), DESK_WINDOW + 1)?;
                        giving_up_together(meter, appender.run(desk.until(share)))
                    })
                })
                .collect(),
            Self::Dump(dump) => {
                let appender = Appender::new(orders.clone(), meter, IMPORT_WINDOW);
                let import = move || giving_up_together(meter, appender.run(dump.batches()));
                vec![scope.spawn(import)]
            }
        }
    }

    /// What the views show, as small tables.
    ///
    /// # Errors
    /// [`FoldError`] if a document does not read as it should.
    pub fn tables(&self, documents: &MemoryDocuments) -> Result<Vec<Table>, FoldError> {
        match self {
            Self::Orders { .. } => Ok(vec![best_sellers(documents)?, countries(documents)?]),
            Self::Dump(_) => {
                Ok(vec![tags(documents)?, commenters(documents)?, weekdays(documents)?])
            }
        }
    }
}

/// Makes the other threads end too if this one failed.
fn giving_up_together<T, E>(meter: &Meter, result: Result<T, E>) -> Result<T, E> {
    if result.is_err() {
        meter.abort();
    }
    result
}

/// The rows with the highest numbers, highest first.
fn top<D>(mut rows: Vec<(&str, D)>, number: impl Fn(&D) -> u64) -> Vec<(&str, D)> {
    rows.sort_by_key(|(_, document)| std::cmp::Reverse(number(document)));
    rows.truncate(TABLE_ROWS);
    rows
}

fn best_sellers(documents: &MemoryDocuments) -> Result<Table, FoldError> {
    let mut table = Table::new("Best sellers", &["article", "units", "revenue"]);
    let units = |sales: &ArticleSales| u64::try_from(sales.units).unwrap_or(0);
    for (sku, sales) in top(documents.view("sales")?, units) {
        let revenue = u64::try_from(sales.revenue_cents / 100).unwrap_or(0);
        table.row([sku.to_owned(), grouped(units(&sales)), grouped(revenue)]);
    }
    Ok(table)
}

fn countries(documents: &MemoryDocuments) -> Result<Table, FoldError> {
    let mut table = Table::new("Orders per country", &["country", "orders"]);
    for (country, row) in top(documents.view("countries")?, |row: &CountryOrders| row.orders) {
        table.row([country.to_owned(), grouped(row.orders)]);
    }
    Ok(table)
}

fn tags(documents: &MemoryDocuments) -> Result<Table, FoldError> {
    let mut table = Table::new("Posts per tag", &["tag", "posts"]);
    for (tag, row) in top(documents.view("posts-per-tag")?, |row: &TagPosts| row.posts) {
        table.row([tag.to_owned(), grouped(row.posts)]);
    }
    Ok(table)
}

fn commenters(documents: &MemoryDocuments) -> Result<Table, FoldError> {
    let mut table = Table::new("Comments per user", &["user", "name", "comments"]);
    let comments = |row: &UserComments| row.comments;
    let mut users = documents.view("comments-per-user")?;
    users.retain(|(_, row)| comments(row) > 0);
    for (user, row) in top(users, comments) {
        table.row([user.to_owned(), row.name.unwrap_or_default(), grouped(row.comments)]);
    }
    Ok(table)
}

fn weekdays(documents: &MemoryDocuments) -> Result<Table, FoldError> {
    let days: Vec<(&str, DayActivity)> = documents.view("activity-per-weekday")?;
    let types: BTreeSet<&String> = days.iter().flat_map(|(_, day)| day.events.keys()).collect();
    let header: Vec<&str> =
        std::iter::once("weekday").chain(types.iter().map(|name| name.as_str())).collect();
    let mut table = Table::new("Activity per weekday", &header);
    for (day, activity) in &days {
        let name = day.split_once(' ').map_or(*day, |(_, name)| name).to_owned();
        let counts = types.iter().map(|&name| activity.events.get(name).copied().unwrap_or(0));
        table.row(std::iter::once(name).chain(counts.map(grouped)));
    }
    Ok(table)
}
