//! A table on a page of its own.
use super::page::{page, table};
use maud::html;

/// A table on a self-contained page that looks like a report. All texts are escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablePage<'a> {
    /// The title of the page, which is also the caption of the table.
    pub title: &'a str,
    /// Where the numbers come from, a line each.
    pub origins: &'a [String],
    /// What a reader must know before any number.
    pub warnings: &'a [String],
    /// How to read the numbers.
    pub reading: &'a str,
    /// The heads of the columns. The first column is text, the others are numbers.
    pub head: &'a [&'a str],
    /// The rows, each with a cell for every column.
    pub rows: &'a [Vec<String>],
}

impl TablePage<'_> {
    /// Renders the page.
    pub fn html(&self) -> String {
        let lead = html! {
            ul { @for origin in self.origins { li { (origin) } } }
            @for warning in self.warnings { p.warning { strong { "Warning: " } (warning) } }
        };
        let rows = html! {
            @for row in self.rows {
                tr {
                    @for (place, cell) in row.iter().enumerate() {
                        @if place == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                    }
                }
            }
        };
        let body = html! { p { (self.reading) } (table(self.title, self.head, 1, &rows)) };
        page(self.title, &lead, &[("results", "Results", body)])
    }
}
