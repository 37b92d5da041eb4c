//! The clients of `client.py`: one step per line on its standard input, one answer per line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Vmm;
use crate::instance::Instance;

/// The running program.
pub(super) struct Clients {
    program: Child,
    steps: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    pub(super) fn start(instance: &Instance) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/channel/client.py");
        let mut program = Command::new("python3")
            .arg(script)
            .arg(instance.run_dir().join("mdev"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let steps = program.stdin.take().expect("stdin is piped");
        let answers = program.stdout.take().expect("stdout is piped");
        Self {
            program,
            steps,
            answers: BufReader::new(answers),
        }
    }
}

impl Vmm for Clients {
    fn step(&mut self, words: &str) -> String {
        writeln!(self.steps, "{words}").expect("the program reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        answer.trim_end().to_owned()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.program.kill().ok();
        drop(self.program.wait());
    }
}
