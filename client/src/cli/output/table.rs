//! Columns for people.

use std::fmt::Write as _;

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A small table whose columns are as wide as their widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Alignment)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    #[must_use]
    pub fn new(columns: &[(&str, Alignment)]) -> Self {
        let columns = columns.iter().map(|(name, side)| ((*name).to_owned(), *side)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; cells beyond the last column are not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// The table as text, each line ended.
    #[must_use]
    pub fn render(&self) -> String {
        let header: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let lines = || std::iter::once(&header).chain(&self.rows);
        let widths: Vec<usize> = (0..header.len())
            .map(|at| {
                let cells = lines().filter_map(|line| line.get(at));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in lines() {
            let cells = line.iter().zip(&widths).zip(&self.columns);
            let mut shown = String::new();
            for ((cell, width), (_, side)) in cells {
                // Writing to a String can't fail.
                let _ = match side {
                    Alignment::Left => write!(shown, "{cell:<width$}  "),
                    Alignment::Right => write!(shown, "{cell:>width$}  "),
                };
            }
            text.push_str(shown.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text that can't steer a terminal: control characters are shown escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_widest_cell() {
        let mut table = Table::new(&[("NAME", Alignment::Left), ("HEAD", Alignment::Right)]);
        table.row(["a".into(), "12345".into()]);
        table.row(["größer".into(), "7".into()]);
        assert_eq!(table.render(), "NAME     HEAD\na       12345\ngrößer      7\n");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let mut table = Table::new(&[("NAME", Alignment::Left)]);
        table.row(["\u{1b}[2J\u{9b}".into()]);
        assert_eq!(table.render(), "NAME\n\\u{1b}[2J\\u{9b}\n");
    }
}
