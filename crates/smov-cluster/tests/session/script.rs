//! The session's file: parsed, and written again with what we answered.

use std::collections::VecDeque;

/// One part of a session.
pub(crate) enum Step {
    /// A remark or an empty line.
    Text(String),
    /// What is told alike from here on.
    Replace(Rule),
    /// A file for the invocations after it.
    File { name: String, lines: Vec<String> },
    /// One call.
    Kubectl(Box<Invocation>),
}

/// A pattern and what stands for it.
#[derive(Clone)]
pub(crate) struct Rule(regex::Regex, String);

/// What kubectl printed and returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

/// One call of kubectl with its answers.
pub(crate) struct Invocation {
    line: String,
    /// Lines before it: `%ours`, `%settle`.
    marks: Vec<String>,
    pub(crate) arguments: Vec<String>,
    /// File given as standard input.
    pub(crate) input: Option<String>,
    pub(crate) editor: Option<String>,
    /// Controllers may need a moment.
    pub(crate) settle: bool,
    /// Of a real API server, or written by hand after `%ours`.
    pub(crate) real: Answer,
    /// Why we differ, and how.
    pub(crate) differs: Option<(String, Answer)>,
}

impl Invocation {
    /// What we shall answer.
    pub(crate) fn expected(&self) -> &Answer {
        self.differs.as_ref().map_or(&self.real, |(_, ours)| ours)
    }

    /// Is a difference written down that is none?
    pub(crate) fn is_outdated(&self) -> bool {
        self.differs.as_ref().is_some_and(|(_, ours)| *ours == self.real)
    }

    /// This invocation as text, with what was answered now.
    pub(crate) fn told(&self, now: &Answer) -> String {
        let mut text = String::new();
        for mark in &self.marks {
            text.push_str(&format!("{mark}\n"));
        }
        text.push_str(&format!("$ {}\n", self.line));
        text.push_str(&self.real.told(""));
        if *now != self.real {
            let why = self.differs.as_ref().map_or("TODO", |(why, _)| why);
            text.push_str(&format!("~ {why}\n{}", now.told("~")));
        }
        text
    }
}

impl Answer {
    fn told(&self, before: &str) -> String {
        let mut text = String::new();
        for (mark, lines) in [("|", &self.out), ("!", &self.err)] {
            for line in lines.lines() {
                text.push_str(format!("{before}{mark} {line}").trim_end());
                text.push('\n');
            }
        }
        if self.code != 0 {
            text.push_str(&format!("{before}= {}\n", self.code));
        }
        text
    }

    fn take(&mut self, mark: char, rest: &str) {
        match mark {
            '=' => self.code = rest.trim().parse().unwrap(),
            mark => {
                let text = if mark == '|' { &mut self.out } else { &mut self.err };
                text.push_str(rest.strip_prefix(' ').unwrap_or(rest).trim_end());
                text.push('\n');
            }
        }
    }
}

/// Applies the rules, and drops what ends lines unseen.
pub(crate) fn alike(rules: &[Rule], text: &str) -> String {
    let mut text = text.to_owned();
    for Rule(pattern, replacement) in rules {
        text = pattern.replace_all(&text, replacement.as_str()).into_owned();
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Parses a session.
pub(crate) fn parse(text: &str) -> Vec<Step> {
    let mut lines: VecDeque<&str> = text.lines().collect();
    let (mut steps, mut marks) = (Vec::new(), Vec::new());
    while let Some(line) = lines.pop_front() {
        if let Some(rest) = line.strip_prefix("%replace ") {
            steps.push(Step::Replace(rule(rest)));
        } else if let Some(name) = line.strip_prefix("%file ") {
            let mut content = Vec::new();
            while let Some(line) = lines.pop_front().filter(|line| *line != "%end") {
                content.push(line.to_owned());
            }
            steps.push(Step::File { name: name.to_owned(), lines: content });
        } else if line.starts_with('%') {
            marks.push(line.to_owned());
        } else if let Some(line) = line.strip_prefix("$ ") {
            steps.push(Step::Kubectl(Box::new(invocation(line, std::mem::take(&mut marks), &mut lines))));
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "what is this? {line}");
            steps.push(Step::Text(line.to_owned()));
        }
    }
    steps
}

/// `REGEX => TEXT`; `$1` in the text is the first group.
fn rule(text: &str) -> Rule {
    let (pattern, replacement) = text.split_once(" => ").unwrap_or((text.trim_end_matches(" =>"), ""));
    let pattern = regex::Regex::new(&format!("(?m){pattern}")).unwrap();
    // `$1x` is group 1 before an x here.
    let replacement = regex::Regex::new(r"\$(\d)").unwrap().replace_all(replacement, "$${$1}").into_owned();
    Rule(pattern, replacement)
}

fn invocation(line: &str, marks: Vec<String>, lines: &mut VecDeque<&str>) -> Invocation {
    let mut arguments = words(line);
    let input = (arguments.len() > 2 && arguments[arguments.len() - 2] == "<").then(|| {
        let file = arguments.pop().unwrap();
        arguments.pop();
        file
    });
    let editor = arguments[0].strip_prefix("EDITOR=").map(str::to_owned);
    if editor.is_some() {
        arguments.remove(0);
    }
    let (mut real, mut differs) = (Answer::default(), None::<(String, Answer)>);
    while let Some(next) = lines.front() {
        if let Some(mark) = next.chars().next().filter(|mark| "|!=".contains(*mark)) {
            real.take(mark, &next[1..]);
        } else if let Some(rest) = next.strip_prefix('~') {
            match (rest.chars().next().filter(|mark| "|!=".contains(*mark)), &mut differs) {
                (Some(mark), Some((_, ours))) => ours.take(mark, &rest[1..]),
                (Some(_), None) => panic!("no reason before {next}"),
                (None, _) => differs = Some((rest.trim().to_owned(), Answer::default())),
            }
        } else {
            break;
        }
        lines.pop_front();
    }
    let settle = marks.iter().any(|mark| mark == "%settle");
    Invocation { line: line.to_owned(), marks, arguments, input, editor, settle, real, differs }
}

/// Words as a shell splits them: quotes keep blanks, a backslash keeps the next letter.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut open, mut quote) = (Vec::new(), String::new(), false, None);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (letter, Some(kind)) if letter == kind => quote = None,
            (letter, Some(_)) => word.push(letter),
            ('\'' | '"', None) => (quote, open) = (Some(letter), true),
            ('\\', None) => word.extend(letters.next()),
            (' ', None) => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            (letter, None) => word.push(letter),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}
