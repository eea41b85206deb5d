//! The table that people and pipelines read.

use std::fmt;

use super::attempt::Outcome;

/// One right, tried in three places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The action.
    pub action: &'static str,
    /// On what.
    pub on: &'static str,
    /// On the tenant's own.
    pub own: Outcome,
    /// On that of the other tenant.
    pub other: Outcome,
    /// On one that is no tenant's.
    pub unrelated: Outcome,
}

impl Row {
    /// Whether it is as promised: allowed at home, refused elsewhere.
    pub fn holds(&self) -> bool {
        let elsewhere = matches!(self.unrelated, Outcome::Denied | Outcome::Untried);
        self.own == Outcome::Allowed && self.other == Outcome::Denied && elsewhere
    }
}

/// What one tenant may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The tenant that acted.
    pub own: String,
    /// The tenant whose data it tried.
    pub other: String,
    /// One row for each right.
    pub rows: Vec<Row>,
}

impl Report {
    /// Rows that are not as promised.
    pub fn broken(&self) -> Vec<&Row> {
        self.rows.iter().filter(|row| !row.holds()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { own, other, rows } = self;
        let head = ["action", "on", own, other, "unrelated"].map(str::to_owned);
        let cells = rows.iter().map(|row| {
            let [own, other, unrelated] = [&row.own, &row.other, &row.unrelated].map(Outcome::to_string);
            let mark = if row.holds() { "" } else { "  <- not as promised" };
            [row.action.to_owned(), row.on.to_owned(), own, other, unrelated + mark]
        });
        let lines: Vec<[String; 5]> = std::iter::once(head).chain(cells).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
        let widths = [0, 1, 2, 3].map(width);
        for [action, on, own, other, unrelated] in &lines {
            let [first, second, third, fourth] = widths;
            writeln!(formatter, "{action:first$}  {on:second$}  {own:third$}  {other:fourth$}  {unrelated}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(own: Outcome, other: Outcome, unrelated: Outcome) -> Row {
        Row { action: "s3:GetObject", on: "objects of the bucket", own, other, unrelated }
    }

    #[test]
    fn only_what_is_allowed_at_home_and_refused_elsewhere_holds() {
        use Outcome::{Allowed, Denied, Unclear, Untried};
        for (row, holds) in [
            (row(Allowed, Denied, Denied), true),
            (row(Allowed, Denied, Untried), true),
            (row(Denied, Denied, Denied), false),
            (row(Allowed, Allowed, Denied), false),
            (row(Allowed, Denied, Allowed), false),
            (row(Allowed, Unclear("a time-out".into()), Denied), false),
            (row(Allowed, Denied, Unclear("a time-out".into())), false),
            (row(Unclear("a time-out".into()), Denied, Denied), false),
            (row(Allowed, Untried, Denied), false),
        ] {
            assert_eq!(row.holds(), holds, "{row:?}");
        }
    }

    #[test]
    fn the_table_has_a_column_for_each_place_and_marks_what_is_broken() {
        use Outcome::{Allowed, Denied, Untried};
        let rows = vec![row(Allowed, Denied, Untried), row(Allowed, Allowed, Denied)];
        let report = Report { own: "a/a".into(), other: "b/b".into(), rows };
        let text = report.to_string();
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").filter(|word| !word.is_empty()).map(str::trim).collect())
            .collect();
        assert_eq!(words[0], ["action", "on", "a/a", "b/b", "unrelated"]);
        assert_eq!(words[1], ["s3:GetObject", "objects of the bucket", "allowed", "denied", "not tried"]);
        assert_eq!(words[2].last(), Some(&"<- not as promised"));
        assert_eq!(report.broken(), [&report.rows[1]]);
    }
}
