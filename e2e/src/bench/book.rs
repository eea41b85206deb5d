//! `BENCHMARKS.md`: tables that benchmarks keep, a row for each choice of their arguments. What is written between the
//! tables is for people to write.

use anyhow::Context;

use crate::testbed::root;

/// A table under its heading.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Heading, without the marks.
    pub heading: &'static str,
    /// Names of the columns.
    pub columns: &'static [&'static str],
    /// How many columns, from the first on, tell one row from another.
    pub keys: usize,
}

impl Table {
    /// Puts a row into the file: in the place of the one that has the same keys, or below the others.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn write(&self, row: &[String]) -> anyhow::Result<()> {
        let file = root().join("e2e/BENCHMARKS.md");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        std::fs::write(&file, self.put(&text, row)).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The row as it is printed: a line for each column.
    pub fn lines(&self, row: &[String]) -> String {
        let lines = self.columns.iter().zip(row).map(|(column, value)| format!("  {column}: {value}\n"));
        lines.collect()
    }

    fn put(&self, text: &str, row: &[String]) -> String {
        let line = format!("| {} |", row.join(" | "));
        let same = format!("| {} |", row[..self.keys].join(" | "));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let heading = format!("## {}", self.heading);
        let start = match lines.iter().position(|line| *line == heading) {
            Some(found) => found,
            None => {
                lines.extend([String::new(), heading, String::new()]);
                lines.extend([
                    format!("| {} |", self.columns.join(" | ")),
                    format!("|{}", " --- |".repeat(self.columns.len())),
                ]);
                lines.len() - 3
            }
        };
        let section = lines[start + 1..].iter().position(|line| line.starts_with("## "));
        let end = section.map_or(lines.len(), |length| start + 1 + length);
        let rows = |line: &&String| line.starts_with('|');
        match lines[start..end].iter().position(|line| line.starts_with(&same)) {
            Some(found) => lines[start + found] = line,
            None => {
                let last = start + lines[start..end].iter().rposition(|line| rows(&line)).unwrap_or(0);
                lines.insert(last + 1, line);
            }
        }
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table { heading: "Updates", columns: &["tenants", "limit", "s"], keys: 2 };

    fn row(cells: [&str; 3]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_row_takes_the_place_of_the_same_run_and_leaves_the_rest() {
        let text = TABLE.put("# Benchmarks\n", &row(["100", "10", "9"]));
        let text = TABLE.put(&text, &row(["1000", "10", "90"]));
        let text = format!("{text}\nOf a day in autumn.\n\n## Rest\n\n| tenants |\n| --- |\n| 100 |\n");
        let text = TABLE.put(&text, &row(["100", "10", "8"]));
        assert_eq!(
            text,
            "# Benchmarks\n\n## Updates\n\n| tenants | limit | s |\n| --- | --- | --- |\n| 100 | 10 | 8 |\n\
             | 1000 | 10 | 90 |\n\nOf a day in autumn.\n\n## Rest\n\n| tenants |\n| --- |\n| 100 |\n"
        );
    }
}
