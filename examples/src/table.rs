//! Small tables for a terminal.

use std::fmt;

/// A table with a title, a header and rows; columns are as wide as their widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(title: &str, header: &[&str]) -> Self {
        let header = header.iter().map(|&cell| cell.to_owned()).collect();
        Self { title: title.to_owned(), header, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn widths(&self) -> Vec<usize> {
        let width = |cell: &String| cell.chars().count();
        (0..self.header.len())
            .map(|column| {
                let lines = std::iter::once(&self.header).chain(&self.rows);
                lines.filter_map(|line| line.get(column)).map(width).max().unwrap_or(0)
            })
            .collect()
    }
}

/// Whether a cell reads as a number and so stands at the right.
fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.chars().all(|letter| letter.is_ascii_digit() || letter == ' ')
}

fn write_line(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
    let mut line = String::from(" ");
    for (cell, &width) in cells.iter().zip(widths) {
        if is_number(cell) {
            line.push_str(&format!(" {cell:>width$} "));
        } else {
            line.push_str(&format!(" {cell:<width$} "));
        }
    }
    writeln!(f, "{}", line.trim_end())
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        writeln!(f, "{}", self.title)?;
        write_line(f, &self.header, &widths)?;
        let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        write_line(f, &rules, &widths)?;
        self.rows.iter().try_for_each(|row| write_line(f, row, &widths))
    }
}

/// A number with its thousands apart: `1234567` as `1 234 567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new("Posts per tag", &["tag", "posts"]);
        table.row([String::from("größe"), grouped(1_200)]);
        table.row([String::from("x"), grouped(7)]);
        let expected = "Posts per tag\n  tag    posts\n  -----  -----\n  größe  1 200\n  \
                        x          7\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
