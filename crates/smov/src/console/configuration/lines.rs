//! A diff of lines: the shortest one, by Myers (<http://www.xmailserver.org/diff2.pdf>).

use smov_console::view::configuration::DiffLine;

/// Lines of context around a change.
const CONTEXT: usize = 3;
/// Texts that differ in more lines than this are shown as one replaced by the other: nobody reads such a diff, and it costs memory.
const MOST_EDITS: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Both,
    Old,
    New,
}

/// The changed lines with some around them; empty when the texts are equal.
pub(crate) fn diff(old: &str, new: &str) -> Vec<DiffLine> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let prefix = old.iter().zip(&new).take_while(same).count();
    let suffix = old[prefix..].iter().rev().zip(new[prefix..].iter().rev()).take_while(same).count();
    let middle = steps(&old[prefix..old.len() - suffix], &new[prefix..new.len() - suffix]);
    let steps: Vec<Step> = std::iter::repeat_n(Step::Both, prefix).chain(middle).chain(std::iter::repeat_n(Step::Both, suffix)).collect();
    hunks(&old, &new, &steps)
}

fn hunks(old: &[&str], new: &[&str], steps: &[Step]) -> Vec<DiffLine> {
    let near = |place: usize| {
        let (from, to) = (place.saturating_sub(CONTEXT), (place + CONTEXT + 1).min(steps.len()));
        steps[from..to].iter().any(|step| *step != Step::Both)
    };
    let (mut left, mut right, mut skipped) = (0, 0, false);
    let mut lines: Vec<DiffLine> = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let number = |index: usize| u32::try_from(index + 1).ok();
        let shown = near(place);
        if shown && skipped {
            lines.push(DiffLine { op: '@', text: String::new(), old: number(left), new: number(right) });
        }
        skipped = !shown;
        let line = match step {
            Step::Both => DiffLine { op: ' ', text: old[left].to_owned(), old: number(left), new: number(right) },
            Step::Old => DiffLine { op: '-', text: old[left].to_owned(), old: number(left), new: None },
            Step::New => DiffLine { op: '+', text: new[right].to_owned(), old: None, new: number(right) },
        };
        left += usize::from(*step != Step::New);
        right += usize::from(*step != Step::Old);
        lines.extend(shown.then_some(line));
    }
    lines
}

/// The shortest way from one to the other: of each round the furthest place on every diagonal is kept, and walked back at the end.
fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let (n, m) = (old.len(), new.len());
    let replaced = || std::iter::repeat_n(Step::Old, n).chain(std::iter::repeat_n(Step::New, m)).collect();
    if n == 0 || m == 0 {
        return replaced();
    }
    let bound = (n + m).min(MOST_EDITS);
    // Diagonal k = x - y lies at k + offset.
    let offset = bound + 1;
    let mut furthest = vec![0_usize; 2 * bound + 3];
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for edits in 0..=bound {
        rounds.push(furthest.clone());
        for at in (offset - edits..=offset + edits).step_by(2) {
            let down = at == offset - edits || (at != offset + edits && furthest[at - 1] < furthest[at + 1]);
            let mut x = if down { furthest[at + 1] } else { furthest[at - 1] + 1 };
            let Some(mut y) = (x + offset).checked_sub(at) else { continue };
            while x < n && y < m && old[x] == new[y] {
                (x, y) = (x + 1, y + 1);
            }
            furthest[at] = x;
            if x >= n && y >= m {
                return walk_back(&rounds, offset, n, m);
            }
        }
    }
    replaced()
}

fn walk_back(rounds: &[Vec<usize>], offset: usize, n: usize, m: usize) -> Vec<Step> {
    let (mut x, mut y) = (n, m);
    let mut back = Vec::new();
    for (edits, furthest) in rounds.iter().enumerate().rev() {
        let at = x + offset - y;
        let down = at == offset - edits || (at != offset + edits && furthest[at - 1] < furthest[at + 1]);
        let before = if down { at + 1 } else { at - 1 };
        let from_x = if edits == 0 { 0 } else { furthest[before] };
        let start = from_x + usize::from(edits > 0 && !down);
        while x > start {
            back.push(Step::Both);
            (x, y) = (x - 1, y - 1);
        }
        if edits > 0 {
            back.push(if down { Step::New } else { Step::Old });
            (x, y) = (from_x, from_x + offset - before);
        }
    }
    back.reverse();
    back
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> Vec<String> {
        diff(old, new).into_iter().map(|line| format!("{}{}", line.op, line.text)).collect()
    }

    #[test]
    fn equal_texts_have_no_diff() {
        assert!(diff("a\nb\n", "a\nb\n").is_empty() && diff("", "").is_empty());
    }

    #[test]
    fn a_changed_line_is_shown_with_three_around_it() {
        let old: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let new = old.replace("line 10\n", "line ten\n");
        assert_eq!(shown(&old, &new), ["@", " line 7", " line 8", " line 9", "-line 10", "+line ten", " line 11", " line 12", " line 13"]);
        let place = diff(&old, &new).into_iter().find(|line| line.op == '+').unwrap();
        assert_eq!((place.old, place.new), (None, Some(10)));
    }

    #[test]
    fn far_changes_are_separate_hunks_with_their_numbers() {
        let old: String = (1..=30).map(|n| format!("{n}\n")).collect();
        let new = old.replace("3\n4\n", "3\nnew\n4\n").replace("25\n", "");
        let lines = diff(&old, &new);
        assert_eq!(lines.iter().filter(|line| line.op == '@').count(), 1);
        let gone = lines.iter().find(|line| line.op == '-').unwrap();
        assert_eq!((gone.text.as_str(), gone.old), ("25", Some(25)));
        let hunk = lines.iter().find(|line| line.op == '@').unwrap();
        assert_eq!((hunk.old, hunk.new), (Some(22), Some(23)));
    }

    #[test]
    fn from_nothing_and_to_nothing() {
        assert_eq!(shown("", "a\nb\n"), ["+a", "+b"]);
        assert_eq!(shown("a\n", ""), ["-a"]);
    }

    #[test]
    fn texts_that_share_nothing_are_replaced_without_much_work() {
        let old: String = (0..20_000).map(|n| format!("a{n}\n")).collect();
        let new: String = (0..20_000).map(|n| format!("b{n}\n")).collect();
        assert_eq!(diff(&old, &new).len(), 40_000);
    }

    /// Numbers from a fixed start, for texts that nobody chose.
    fn random(state: &mut u64, below: u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }

    /// The length of the longest common subsequence, by the textbook's table.
    fn common(old: &[&str], new: &[&str]) -> usize {
        let mut table = vec![vec![0; new.len() + 1]; old.len() + 1];
        for (x, left) in old.iter().enumerate() {
            for (y, right) in new.iter().enumerate() {
                table[x + 1][y + 1] = if left == right { table[x][y] + 1 } else { table[x][y + 1].max(table[x + 1][y]) };
            }
        }
        table[old.len()][new.len()]
    }

    #[test]
    fn every_diff_leads_from_one_to_the_other_and_none_is_longer_than_needed() {
        let mut state = 7;
        for _ in 0..500 {
            let mut text = || (0..random(&mut state, 12)).map(|_| ["a", "b", "c"][random(&mut state, 3) as usize]).collect::<Vec<_>>();
            let (old, new) = (text(), text());
            let steps = steps(&old, &new);
            let (mut x, mut y) = (0, 0);
            for step in &steps {
                if *step == Step::Both {
                    assert_eq!(old[x], new[y]);
                }
                x += usize::from(*step != Step::New);
                y += usize::from(*step != Step::Old);
            }
            assert_eq!((x, y), (old.len(), new.len()));
            assert_eq!(steps.iter().filter(|step| **step == Step::Both).count(), common(&old, &new), "{old:?} {new:?}");
        }
    }
}
