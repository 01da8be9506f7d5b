//! The line of YAML that a finding is about, with a mark below the place.

use anstyle::Style;
use smov_istio::diagnostic::Position;

use crate::printer::{DIM, columns, paint};

/// Longer lines are cut: a terminal would wrap them and the mark would be elsewhere.
const WIDTH: usize = 70;

/// Number, line and mark, ready to print.
pub(super) fn lines(text: &str, position: Position, style: Style) -> Vec<String> {
    let Some(line) = line(text, position) else { return Vec::new() };
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    let start = usize::try_from(position.column.saturating_sub(1)).unwrap_or(0);
    let shown: String = cut(line);
    let before: String = shown.chars().take(start).collect();
    let marked: String = marked(&shown.chars().skip(start).collect::<String>());
    let mark = "^".repeat(columns(&marked).max(1));
    let bar = paint(DIM, "|");
    vec![
        format!("   {margin} {bar}"),
        format!("   {number} {bar} {shown}"),
        format!("   {margin} {bar} {}{}", " ".repeat(columns(&before)), paint(style, &mark)),
    ]
}

/// The line itself.
pub(super) fn line(text: &str, position: Position) -> Option<&str> {
    text.lines().nth(usize::try_from(position.line).ok()?.checked_sub(1)?).map(str::trim_end)
}

/// Of `key: value` the whole, without a comment behind it.
fn marked(rest: &str) -> String {
    let rest = rest.split(" #").next().unwrap_or(rest);
    rest.trim_end().to_owned()
}

fn cut(line: &str) -> String {
    let mut shown = String::new();
    for character in line.chars() {
        let character = if character == '\t' { ' ' } else { character };
        if columns(&shown) + 2 > WIDTH {
            shown.push('…');
            break;
        }
        shown.push(character);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str, line: u32, column: u32) -> String {
        let lines = lines(text, Position { line, column }, Style::new());
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn the_mark_stands_below_the_place_also_behind_korean() {
        assert_eq!(plain("a:\n  b: 1 # x\n", 2, 3), "     |\n   2 |   b: 1 # x\n     |   ^^^^");
        assert_eq!(plain("가: {b: 1}\n", 1, 5), "     |\n   1 | 가: {b: 1}\n     |      ^^^^^");
    }

    #[test]
    fn a_long_line_is_cut() {
        let text = format!("a: {}\n", "x".repeat(200));
        assert!(plain(&text, 1, 1).lines().all(|line| line.chars().count() < 80));
    }
}
