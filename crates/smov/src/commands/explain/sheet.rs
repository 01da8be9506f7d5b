//! Rows with a label in front, broken to 80 columns.

use crate::printer::{self, BOLD, columns, pad, paint, wrap};

/// Width of a terminal that everybody has.
const WIDTH: usize = 80;

/// Labelled rows, printed together so that the labels line up.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    rows: Vec<(String, Vec<String>)>,
}

impl Sheet {
    /// A row; further lines stand below the first. Nothing is added without a line.
    pub(super) fn row(&mut self, label: String, lines: Vec<String>) {
        if !lines.is_empty() {
            self.rows.push((label, lines));
        }
    }

    /// The lines as printed, without colour.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        let label_width = self.rows.iter().map(|(label, _)| columns(label)).max().unwrap_or(0) + 2;
        let mut printed = Vec::new();
        for (label, lines) in &self.rows {
            let mut label = label.as_str();
            for line in lines {
                let indent = line.chars().take_while(|character| *character == ' ').count();
                // A number and its sign stay together.
                let line = line.replace(" %", "\u{a0}%");
                for broken in wrap(&line, WIDTH - label_width, indent + 2) {
                    let broken = broken.replace('\u{a0}', " ");
                    printed.push((pad(label, label_width), broken));
                    label = "";
                }
            }
        }
        printed
    }

    pub(super) fn print(&self) {
        for (label, text) in self.lines() {
            printer::line(format!("{}{text}", paint(BOLD, &label)).trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_line_up_and_break_within_80_columns() {
        let mut sheet = Sheet::default();
        sheet.row("host".to_owned(), vec!["a".to_owned()]);
        sheet.row("엔드포인트".to_owned(), vec!["b ".repeat(60), "c".to_owned()]);
        sheet.row("none".to_owned(), Vec::new());
        let lines = sheet.lines();
        assert_eq!(lines[0], ("host        ".to_owned(), "a".to_owned()));
        assert_eq!(lines.last().unwrap(), &("            ".to_owned(), "c".to_owned()));
        assert!(lines.iter().all(|(label, text)| columns(label) + columns(text.trim_end()) <= WIDTH));
    }
}
