//! Scenario files: faults and console operations with times.
//!
//! ```text
//!   # one step a line; times count from the start
//!   at 0s     inject 05.0004 rc nqap 02 times 3
//!   at 1500ms checkstop 5
//!   at 3s     recover 5
//!   at 4s     clear all
//! ```
//! Steps run in the order of their times, those of the same time in the order of the file. A file is
//! read as a whole before anything happens.

use std::time::Duration;

use machine::faults::{Order, parse_duration};

use crate::control::Request;

/// The most steps of a scenario.
const MOST_STEPS: usize = 10_000;

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When, from the start of the scenario.
    pub at: Duration,
    /// What the console is asked.
    pub request: Request,
    /// The same in the file's words.
    pub words: String,
}

/// A line that is no step.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ScenarioError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// The steps of a scenario file, in the order in which they run.
///
/// # Errors
/// The first line that is no step.
pub fn parse(text: &str) -> Result<Vec<Step>, ScenarioError> {
    let mut steps = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let step = parse_step(line).and_then(|step| {
            if steps.len() < MOST_STEPS {
                Ok(step)
            } else {
                Err(format!("a scenario has at most {MOST_STEPS} steps"))
            }
        });
        steps.push(step.map_err(|reason| ScenarioError {
            line: number,
            reason,
        })?);
    }
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

fn parse_step(line: &str) -> Result<Step, String> {
    let rest = word(line, "at").ok_or("a step begins with \"at TIME\"")?;
    let (time, words) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let at = parse_duration(time)
        .ok_or_else(|| format!("{time:?} is no time; one is written as in 250ms, 3s or 2m"))?;
    let words = words.trim();
    let (verb, operand) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let operand = operand.trim();
    let adapter = || {
        operand
            .parse()
            .map_err(|_| format!("{verb} takes an adapter number, 0 to 255, not {operand:?}"))
    };
    let request = match verb {
        "inject" => {
            let order: Order = operand.parse().map_err(|error| format!("{error}"))?;
            Request::Inject {
                order: order.to_string(),
            }
        }
        "clear" if operand.is_empty() || operand.contains(char::is_whitespace) => {
            return Err("clear takes a queue or all".to_owned());
        }
        "clear" => Request::ClearFaults {
            which: operand.to_owned(),
        },
        "configure" => Request::Configure { id: adapter()? },
        "deconfigure" => Request::Deconfigure { id: adapter()? },
        "checkstop" => Request::Checkstop { id: adapter()? },
        "recover" => Request::Recover { id: adapter()? },
        "" => return Err("the step is missing".to_owned()),
        other => {
            return Err(format!(
                "{other:?} is no step; there are inject, clear, configure, deconfigure, checkstop \
                 and recover"
            ));
        }
    };
    Ok(Step {
        at,
        request,
        words: words.to_owned(),
    })
}

/// What stands behind the first word, if that is `word`.
fn word<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    let rest = line.strip_prefix(word)?;
    rest.starts_with(char::is_whitespace)
        .then(|| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_run_in_the_order_of_their_times() {
        let steps = parse(
            "# a comment\n\nat 2s recover 5   # the end\nat 0s inject 05.0004 drop\n\tat 2s clear all",
        )
        .unwrap();
        let order = "05.0004 drop once".to_owned();
        let times: Vec<u64> = steps.iter().map(|step| step.at.as_secs()).collect();
        assert_eq!(times, [0, 2, 2]);
        assert_eq!(steps[0].request, Request::Inject { order });
        assert_eq!(steps[1].request, Request::Recover { id: 5 });
        assert_eq!(steps[1].words, "recover 5");
        let which = "all".to_owned();
        assert_eq!(steps[2].request, Request::ClearFaults { which });
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, says) in [
            ("at 0s recover 5\nrecover 5", "line 2: a step begins"),
            ("\n\nat soon recover 5", "line 3: \"soon\" is no time"),
            ("at 1s", "line 1: the step is missing"),
            ("at 1s explode", "line 1: \"explode\" is no step"),
            (
                "at 1s recover five",
                "line 1: recover takes an adapter number",
            ),
            ("at 1s checkstop 256", "line 1: checkstop takes an adapter"),
            ("at 1s clear", "line 1: clear takes a queue or all"),
            (
                "at 1s inject 05.0004 rc",
                "line 1: the instruction is missing",
            ),
            ("attic", "line 1: a step begins"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(says), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_scenario_or_an_error(text in "((at )?(1s |inject |05.0004 |drop|recover |5|#|\\PC|\n)){0,40}") {
            if let Ok(steps) = parse(&text) {
                prop_assert!(steps.is_sorted_by_key(|step| step.at));
            }
        }
    }
}
