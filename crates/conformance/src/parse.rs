//! From the text of a transcript to its cases.

use arch::Errno;

use crate::transcript::{Action, Answer, Case, Step, expand};

/// A transcript that does not follow the format. Prints as `file:line: what is wrong`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct ParseError {
    /// Name of the file as given to [`parse`].
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Parses the text of a transcript; `file` is used in errors only.
///
/// # Errors
/// [`ParseError`] at the first line that does not follow the format.
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, ParseError> {
    let mut parser = Parser {
        cases: Vec::new(),
        pending: None,
    };
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        parser.line(number, line).map_err(|problem| ParseError {
            file: String::from(file),
            line: number,
            problem,
        })?;
    }
    parser.finish().map_err(|problem| ParseError {
        file: String::from(file),
        line: text.lines().count(),
        problem,
    })
}

/// The cases so far, and the action whose answer has to be the next line.
struct Parser {
    cases: Vec<(Case, bool)>,
    pending: Option<(usize, Action)>,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, self.pending.take()) {
            ("=", Some((at, action))) => {
                let expected = answer(&action, rest)?;
                let step = Step {
                    line: at,
                    action,
                    expected,
                };
                self.case()?.steps.push(step);
                Ok(())
            }
            (_, Some((at, action))) => Err(format!("`{action}` in line {at} has no answer")),
            ("=", None) => Err(String::from("an answer without an action")),
            ("", None) => Ok(()),
            ("case", None) => {
                let case = Case {
                    name: String::from(rest),
                    host: String::new(),
                    steps: Vec::new(),
                };
                self.cases.push((case, false));
                Ok(())
            }
            ("host", None) if !self.booted()? => {
                self.case()?.host = String::from(rest);
                self.boot();
                Ok(())
            }
            _ if !self.booted()? => Err(String::from("a case must start with a host line")),
            _ => {
                self.pending = Some((number, action(word, rest)?));
                Ok(())
            }
        }
    }

    fn case(&mut self) -> Result<&mut Case, String> {
        let last = self.cases.last_mut();
        last.map(|(case, _)| case)
            .ok_or_else(|| String::from("no case line yet"))
    }

    fn booted(&self) -> Result<bool, String> {
        let last = self.cases.last();
        last.map(|(_, booted)| *booted)
            .ok_or_else(|| String::from("no case line yet"))
    }

    fn boot(&mut self) {
        if let Some((_, booted)) = self.cases.last_mut() {
            *booted = true;
        }
    }

    fn finish(self) -> Result<Vec<Case>, String> {
        if let Some((at, action)) = self.pending {
            return Err(format!("`{action}` in line {at} has no answer"));
        }
        Ok(self.cases.into_iter().map(|(case, _)| case).collect())
    }
}

fn action(word: &str, rest: &str) -> Result<Action, String> {
    let path = || match expand(rest) {
        path if path.is_empty() => Err(format!("`{word}` needs a path")),
        path => Ok(path),
    };
    match word {
        "host" => Ok(Action::Host(String::from(rest))),
        "w" => {
            let (path, text) = rest.split_once(' ').ok_or("`w` needs a path and a text")?;
            Ok(Action::Write(expand(path), unquote(&expand(text))?))
        }
        "r" => Ok(Action::Read(path()?)),
        "ls" => Ok(Action::List(path()?)),
        "lsl" => Ok(Action::ReadLink(path()?)),
        "mode" => Ok(Action::Mode(path()?)),
        _ => Err(format!("unknown word `{word}`")),
    }
}

fn answer(action: &Action, text: &str) -> Result<Answer, String> {
    if let Some(errno) = text.strip_prefix("open ") {
        return errno_named(errno).map(Answer::OpenFailed);
    }
    if let Ok(errno) = errno_named(text) {
        return Ok(Answer::Failed(errno));
    }
    match action {
        Action::Host(_) | Action::Write(..) => match text.split_once(' ') {
            None if text == "ok" => Ok(Answer::Ok),
            Some(("short", count)) => count
                .parse()
                .map(Answer::Short)
                .map_err(|_| format!("`{count}` is not a number of bytes")),
            _ => Err(format!("`{text}` is not an answer to a write")),
        },
        Action::Read(_) => unquote(&expand(text)).map(Answer::Content),
        Action::List(_) => {
            let names = text.split_ascii_whitespace().map(expand).collect();
            Ok(Answer::Names(names))
        }
        Action::ReadLink(_) => Ok(Answer::Target(expand(text))),
        Action::Mode(_) => u16::from_str_radix(text, 8)
            .map(Answer::Mode)
            .map_err(|_| format!("`{text}` is not an octal mode")),
    }
}

fn errno_named(name: &str) -> Result<Errno, String> {
    let known = Errno::ALL
        .iter()
        .copied()
        .find(|errno| errno.name() == name);
    known.ok_or_else(|| format!("unknown error name `{name}`"))
}

/// The bytes between the quotes of TEXT.
fn unquote(text: &str) -> Result<Vec<u8>, String> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .ok_or_else(|| format!("`{text}` is not in double quotes"))?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let [escape, tail @ ..] = rest else {
            return Err(String::from("a backslash at the end of the text"));
        };
        rest = tail;
        bytes.push(match escape {
            b'n' => b'\n',
            b't' => b'\t',
            b'"' | b'\\' => *escape,
            b'x' => {
                let digits = rest
                    .get(..2)
                    .and_then(|digits| std::str::from_utf8(digits).ok());
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                rest = rest.get(2..).unwrap_or_default();
                value.ok_or("`\\x` needs two hex digits")?
            }
            other => return Err(format!("unknown escape `\\{}`", char::from(*other))),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::quote;
    use proptest::prelude::*;

    #[test]
    fn every_recorded_transcript_parses() {
        let mut cases = 0;
        for (name, text) in crate::RECORDED.iter().chain(crate::OBSERVED) {
            let parsed = parse(name, text).unwrap();
            assert!(
                parsed
                    .iter()
                    .all(|case| !case.host.is_empty() && !case.steps.is_empty())
            );
            cases += parsed.len();
        }
        assert!(cases > 150, "{cases}");
    }

    #[test]
    fn errors_name_file_and_line() {
        for (text, line) in [
            ("case a\nhost x\nfrobnicate y\n", 3),
            ("case a\nhost x\nr y\nr z\n", 4),
            ("case a\nhost x\n= ok\n", 3),
            ("host x\n", 1),
            ("case a\nr x\n", 2),
            ("case a\nhost x\nw y \"\\q\"\n= ok\n", 3),
            ("case a\nhost x\nw y \"z\"\n= maybe\n", 4),
            ("case a\nhost x\nw y \"z\"\n", 3),
        ] {
            let error = parse("f", text).unwrap_err();
            assert_eq!(
                (error.file.as_str(), error.line),
                ("f", line),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn an_empty_listing_is_an_answer() {
        let cases = parse("f", "case a\nhost x\nls y\n=\n").unwrap();
        assert_eq!(cases[0].steps[0].expected, Answer::Names(Vec::new()));
    }

    proptest! {
        #[test]
        fn texts_round_trip(bytes: Vec<u8>) {
            prop_assert_eq!(unquote(&quote(&bytes)), Ok(bytes));
        }
    }
}
