//! The only place that writes to the terminal. Colour follows NO_COLOR and pipes (anstream).

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const CTX1: Style = AnsiColor::Blue.on_default();
pub(crate) const CTX2: Style = AnsiColor::Yellow.on_default();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();

/// Text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A line of data.
pub(crate) fn line(text: &str) {
    anstream::println!("{text}");
}

/// Text without a line end, as it is.
pub(crate) fn raw(text: &str) {
    anstream::print!("{text}");
}

/// A line for people, beside the data.
pub(crate) fn note(text: &str) {
    anstream::eprintln!("{text}");
}

pub(crate) fn error(text: &str) {
    anstream::eprintln!("{} {text}", paint(BAD.bold(), "error:"));
}

pub(crate) fn hint(text: &str) {
    anstream::eprintln!("{}  {text}", paint(BOLD, "hint:"));
}

pub(crate) fn warning(text: &str) {
    anstream::eprintln!("{} {text}", paint(CTX2.bold(), "warning:"));
}

/// A line for people, broken at words to 80 columns; continuation lines are indented.
pub(crate) fn wrapped(text: &str, indent: usize) {
    for broken in wrap(text, 80, indent) {
        line(&broken);
    }
}

/// Breaks a text at spaces. A word that is wider than the width stands alone.
pub(crate) fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let start: String = text.chars().take_while(|character| *character == ' ').collect();
    let mut current = start.clone();
    let mut empty = true;
    for word in text.trim_start().split(' ') {
        if !empty && columns(&current) + 1 + columns(word) > width {
            lines.push(std::mem::replace(&mut current, " ".repeat(indent)));
            empty = true;
        }
        if !empty {
            current.push(' ');
        }
        current.push_str(word);
        empty = false;
    }
    lines.push(current);
    lines
}

/// Pads to a width in terminal columns; Korean letters are two wide.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// How wide a text is on the screen: colour takes no room.
pub(crate) fn columns(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

/// Rows in columns, two spaces between.
pub(crate) fn table(rows: &[Vec<String>]) {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> =
        (0..count).map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| columns(cell)).max().unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| if column + 1 == row.len() { cell.clone() } else { pad(cell, widths[column]) })
            .collect();
        line(cells.join("   ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_at_words() {
        assert_eq!(wrap("  one two three", 9, 4), ["  one two", "    three"]);
        assert_eq!(wrap("파드 파드 파드", 9, 0), ["파드 파드", "파드"]);
        assert_eq!(wrap("", 9, 0), [""]);
    }

    #[test]
    fn colour_takes_no_room_and_korean_takes_two() {
        assert_eq!(columns(&paint(GOOD, "1/1")), 3);
        assert_eq!(columns("파드"), 4);
        assert_eq!(pad("파드", 6), "파드  ");
    }
}
