//! What the echo answers, step by step.
//!
//! For people a line: `503 x2, 200 after 300ms, reset, hang`. For more, JSON: a list of steps, each a number, such a line, or an object
//! with `status`, `delay`, `headers`, `body`, `ending`, `times`. The last step stays; `{"cycle": [...]}` starts again instead.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Steps, one per request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    steps: Vec<Step>,
    /// After the last step: the first again, or the last for ever?
    cycle: bool,
}

impl Default for Script {
    /// 200, always.
    fn default() -> Self {
        Self { steps: vec![Step::default()], cycle: false }
    }
}

/// What one request gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The status; 200 unless said otherwise.
    pub status: u16,
    /// How long the answer is waited for.
    #[serde(serialize_with = "as_text")]
    pub delay: Duration,
    /// Headers of the answer, beside those that say who answers.
    pub headers: BTreeMap<String, String>,
    /// The body; without one, what came is shown as JSON.
    pub body: Option<String>,
    /// How it ends.
    pub ending: Ending,
    /// How many requests in a row get this step; at least 1.
    pub times: u32,
}

impl Default for Step {
    fn default() -> Self {
        Self { status: 200, delay: Duration::ZERO, headers: BTreeMap::new(), body: None, ending: Ending::Answer, times: 1 }
    }
}

/// How an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// With an answer.
    #[default]
    Answer,
    /// The connection is reset (RST) before an answer.
    Reset,
    /// The connection is closed (FIN) before an answer.
    Close,
    /// Never: the client has to give up.
    Hang,
    /// The answer breaks off in the middle of its body.
    Cut,
}

/// A script that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a step of a script: {reason}")]
pub struct InvalidScript {
    /// The part.
    pub text: String,
    /// What was expected.
    pub reason: String,
}

fn invalid(text: &str, reason: impl Into<String>) -> InvalidScript {
    InvalidScript { text: text.to_owned(), reason: reason.into() }
}

impl Script {
    /// These steps; the last one stays. Without a step, 200 always.
    pub fn new(steps: Vec<Step>) -> Self {
        if steps.is_empty() { Self::default() } else { Self { steps, cycle: false } }
    }

    /// The step of the request with this number, from 0, and the step's place.
    pub fn step(&self, number: u64) -> (usize, Step) {
        let total: u64 = self.steps.iter().map(|step| u64::from(step.times)).sum();
        let mut left = if self.cycle { number % total.max(1) } else { number };
        for (index, step) in self.steps.iter().enumerate() {
            if left < u64::from(step.times) {
                return (index, step.clone());
            }
            left -= u64::from(step.times);
        }
        let last = self.steps.len() - 1;
        (last, self.steps[last].clone())
    }
}

impl FromStr for Script {
    type Err = InvalidScript;

    fn from_str(text: &str) -> Result<Self, InvalidScript> {
        if text.trim_start().starts_with(['[', '{']) {
            return serde_json::from_str(text).map_err(|error| invalid(text, error.to_string()));
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::parse).collect::<Result<Vec<Step>, _>>().map(Self::new)
    }
}

impl FromStr for Step {
    type Err = InvalidScript;

    /// `503`, `503 x2`, `200 after 300ms`, `reset`, `hang`, `close`, `cut`.
    fn from_str(text: &str) -> Result<Self, InvalidScript> {
        let mut words = text.split_whitespace();
        let mut step = match words.next() {
            None => return Err(invalid(text, "it is empty")),
            Some("reset") => Self { ending: Ending::Reset, ..Self::default() },
            Some("close") => Self { ending: Ending::Close, ..Self::default() },
            Some("hang") => Self { ending: Ending::Hang, ..Self::default() },
            Some("cut") => Self { ending: Ending::Cut, ..Self::default() },
            Some(number) => Self { status: status(number.parse().ok(), text)?, ..Self::default() },
        };
        while let Some(word) = words.next() {
            if word == "after" {
                let delay = words.next().ok_or_else(|| invalid(text, "`after` needs a time such as 300ms"))?;
                step.delay = parse_delay(delay)?;
            } else if let Some(times) = word.strip_prefix('x') {
                step.times = times.parse().ok().filter(|times| *times > 0).ok_or_else(|| invalid(text, "write `x2` for two times"))?;
            } else {
                return Err(invalid(text, format!("`{word}` is neither `x2` nor `after 300ms`")));
            }
        }
        Ok(step)
    }
}

fn status(number: Option<u16>, text: &str) -> Result<u16, InvalidScript> {
    let allowed = number.filter(|status| (200..=599).contains(status));
    allowed.ok_or_else(|| invalid(text, "expected a status from 200 to 599, or reset, close, hang, cut"))
}

/// `300ms`, `1.5s`, `2m`.
pub fn parse_delay(text: &str) -> Result<Duration, InvalidScript> {
    let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(invalid(text, "a time is written 300ms, 1.5s or 2m")),
    };
    let seconds = number.parse::<f64>().map(|number| number * factor).map_err(|_| invalid(text, "a time is written 300ms, 1.5s or 2m"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid(text, "this time is out of range"))
}

fn as_text<S: Serializer>(delay: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}ms", delay.as_millis()))
}

/// The written forms of a step.
#[derive(Deserialize)]
#[serde(untagged)]
enum StepForm {
    Status(u16),
    Line(String),
    Fields(Fields),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    status: Option<u16>,
    delay: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    #[serde(default)]
    ending: Ending,
    times: Option<u32>,
}

impl StepForm {
    fn steps(self) -> Result<Vec<Step>, InvalidScript> {
        match self {
            Self::Status(number) => Ok(vec![Step { status: status(Some(number), &number.to_string())?, ..Step::default() }]),
            Self::Line(text) => text.parse::<Script>().map(|script| script.steps),
            Self::Fields(fields) => {
                let text = fields.status.map_or_else(|| "200".to_owned(), |status| status.to_string());
                Ok(vec![Step {
                    status: status(Some(fields.status.unwrap_or(200)), &text)?,
                    delay: fields.delay.as_deref().map_or(Ok(Duration::ZERO), parse_delay)?,
                    headers: fields.headers,
                    body: fields.body,
                    ending: fields.ending,
                    times: fields.times.unwrap_or(1).max(1),
                }])
            }
        }
    }
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Steps(Vec<StepForm>),
            Cycle {
                cycle: Vec<StepForm>,
            },
            Whole {
                steps: Vec<StepForm>,
                #[serde(default)]
                cycle: bool,
            },
            One(StepForm),
        }
        fn all<E: serde::de::Error>(forms: Vec<StepForm>) -> Result<Script, E> {
            let steps: Result<Vec<Vec<Step>>, InvalidScript> = forms.into_iter().map(StepForm::steps).collect();
            Ok(Script::new(steps.map_err(E::custom)?.concat()))
        }
        match Form::deserialize(deserializer)? {
            Form::Steps(forms) => all(forms),
            Form::Cycle { cycle } => all(cycle).map(|script| Self { cycle: true, ..script }),
            Form::Whole { steps, cycle } => all(steps).map(|script| Self { cycle, ..script }),
            Form::One(form) => all(vec![form]),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer => "answer",
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Hang => "hang",
            Self::Cut => "cut",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(text: &str, count: u64) -> Vec<u16> {
        let script: Script = text.parse().unwrap();
        (0..count).map(|number| script.step(number).1.status).collect()
    }

    #[test]
    fn the_last_step_stays() {
        assert_eq!(statuses("503 x2, 200", 5), [503, 503, 200, 200, 200]);
    }

    #[test]
    fn a_cycle_starts_again() {
        assert_eq!(statuses(r#"{"cycle": [503, "200 x2"]}"#, 6), [503, 200, 200, 503, 200, 200]);
    }

    #[test]
    fn a_line_and_json_say_the_same() {
        let line: Script = "503 x2 after 300ms, reset".parse().unwrap();
        let json: Script = r#"[{"status": 503, "times": 2, "delay": "300ms"}, {"ending": "reset"}]"#.parse().unwrap();
        assert_eq!(line, json);
        let again: Script = serde_json::to_string(&line).unwrap().parse().unwrap();
        assert_eq!(again, line);
    }

    #[test]
    fn what_is_no_step_is_named() {
        for (text, part) in [("503 twice", "503 twice"), ("teapot", "teapot"), ("99", "99"), ("200 after soon", "soon")] {
            assert_eq!(text.parse::<Script>().unwrap_err().text, part);
        }
    }
}
