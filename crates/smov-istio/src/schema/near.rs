//! "Did you mean": the known word that is nearest to a misspelt one.

/// The nearest known word, when it is near enough to be meant: one edit for short words, two for longer ones.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = if word.chars().count() <= 4 { 1 } else { 2 };
    let lower = word.to_ascii_lowercase().replace(['_', '-'], "");
    let ranked = known.map(|candidate| (distance(&lower, &candidate.to_ascii_lowercase()), candidate));
    ranked.filter(|(edits, _)| *edits <= allowed).min().map(|(_, candidate)| candidate)
}

/// Edits between two words: insert, delete, replace, swap of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=right.len()).collect();
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let replace = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_finds_its_neighbour() {
        let known = ["weight", "destination", "headers", "exportTo"];
        let near = |word| nearest(word, known.into_iter());
        assert_eq!(near("weigth"), Some("weight"));
        assert_eq!(near("destinaton"), Some("destination"));
        assert_eq!(near("export_to"), Some("exportTo"));
        assert_eq!(near("Headers"), Some("headers"));
        assert_eq!(near("percentage"), None);
    }
}
