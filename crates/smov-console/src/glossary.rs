//! The glossary: `docs/glossary.md`, compiled in and read once. The page's `?`, `smov glossary` and the guide all say the same sentences.
//!
//! A term is a heading of the third level (its key), one line `**한국어** · **English**`, a Korean and an English paragraph, and, where
//! there is one, a fenced block with the line for a terminal. `{host}`, `{path}` and `{origin}` in it are filled in by whoever shows it.

use std::sync::LazyLock;

use serde::Serialize;

/// One term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Term {
    /// `outlier-detection`, `flag.UH`.
    pub key: &'static str,
    /// What it is called in Korean.
    pub ko: &'static str,
    /// What it is called in English.
    pub en: &'static str,
    /// A sentence in Korean.
    pub text_ko: &'static str,
    /// A sentence in English.
    pub text_en: &'static str,
    /// Lines for a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<&'static str>,
}

const SOURCE: &str = include_str!("../../../docs/glossary.md");

/// All terms, in the order of the document.
pub fn terms() -> &'static [Term] {
    static TERMS: LazyLock<Vec<Term>> = LazyLock::new(|| parse(SOURCE).expect("a test reads the built-in glossary"));
    &TERMS
}

/// The terms that a person may mean: a key or a name as it is, else those that hold the word.
pub fn find(word: &str) -> Vec<&'static Term> {
    let word = word.trim().to_lowercase();
    let names = |term: &Term| [term.key, term.ko, term.en].map(str::to_lowercase);
    let flag = format!("flag.{word}");
    let exact: Vec<&Term> = terms().iter().filter(|term| names(term).iter().any(|name| *name == word || *name == flag)).collect();
    if !exact.is_empty() {
        return exact;
    }
    terms().iter().filter(|term| names(term).iter().any(|name| name.contains(&word))).collect()
}

fn parse(text: &'static str) -> Result<Vec<Term>, String> {
    let mut terms: Vec<Term> = Vec::new();
    for section in text.split("\n### ").skip(1) {
        let section = section.split("\n## ").next().unwrap_or(section);
        let (key, body) = section.split_once('\n').ok_or_else(|| format!("`{section}` is only a heading"))?;
        let key = key.trim().trim_matches('`');
        let wrong = |what: &str| format!("`{key}`: {what}");
        let (prose, command) = match body.split_once("```sh\n") {
            Some((prose, block)) => {
                let (command, rest) = block.split_once("\n```").ok_or_else(|| wrong("the block does not end"))?;
                if !rest.trim().is_empty() {
                    return Err(wrong("something follows the block"));
                }
                (prose, Some(command))
            }
            None => (body, None),
        };
        let paragraphs: Vec<&str> = prose.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).collect();
        let [names, text_ko, text_en] = paragraphs[..] else {
            return Err(wrong("a term has one line of names, a Korean and an English paragraph"));
        };
        let (ko, en) = names.split_once(" · ").ok_or_else(|| wrong("write `**한국어** · **English**`"))?;
        let (ko, en) = (ko.trim_matches('*'), en.trim_matches('*'));
        if [ko, en, text_ko, text_en].iter().any(|part| part.is_empty() || part.contains('\n')) {
            return Err(wrong("names and sentences are one line each"));
        }
        if terms.iter().any(|term| term.key == key) {
            return Err(wrong("it is there twice"));
        }
        terms.push(Term { key, ko, en, text_ko, text_en, command });
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hangul(text: &str) -> bool {
        text.chars().any(|character| ('가'..='힣').contains(&character))
    }

    #[test]
    fn the_built_in_glossary_is_readable_and_complete_in_both_languages() {
        let terms = parse(SOURCE).unwrap();
        assert!(terms.len() > 100, "{}", terms.len());
        for term in terms {
            assert!(hangul(term.text_ko), "{}: {}", term.key, term.text_ko);
            assert!(!hangul(term.text_en) && !hangul(term.en), "{}: {}", term.key, term.text_en);
            assert!(term.text_ko.ends_with(['.', '?']) && term.text_en.ends_with(['.', '?']), "{}", term.key);
            assert!(term.command.is_none_or(|command| !hangul(command)), "{}", term.key);
        }
    }

    #[test]
    fn every_flag_of_the_model_is_explained() {
        for flag in smov_model::flag::ResponseFlag::ALL {
            let key = format!("flag.{}", flag.as_str());
            assert!(terms().iter().any(|term| term.key == key), "{key}");
        }
    }

    #[test]
    fn a_word_finds_its_term() {
        assert_eq!(find("UH")[0].key, "flag.UH");
        assert_eq!(find("서브셋")[0].key, "subset");
        assert_eq!(find("outlier")[0].key, "outlier-detection");
        assert!(find("no such thing").is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_term() {
        for (text, words) in [
            ("\n### a\n", "names"),
            ("\n### a\n\n**가** · **a**\n\n가.\n", "names"),
            ("\n### a\n\n가\n\n가.\n\na.\n", "write"),
            ("\n### a\n\n**가** · **a**\n\n가.\n\na.\n\n```sh\nx\n", "end"),
            ("\n### a\n\n**가** · **a**\n\n가.\n\na.\n\n### a\n\n**가** · **a**\n\n가.\n\na.\n", "twice"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("`a`") && error.contains(words), "{error}");
        }
    }
}
