//! Man pages of section 1: one for the program, and one for each verb with its own verbs in it.

use anyhow::Result;
use clap::Command;
use clap_mangen::Man;

/// Which verbs a page goes on to.
const SEE_ALSO: &str = ".SH \"SEE ALSO\"\napmatrix(1), apmatrix\\-machine(5)\n";

/// The pages, with their names below the documents' folder.
pub(crate) fn pages(program: Command) -> Result<Vec<(String, String)>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = vec![("man/apmatrix.1".to_owned(), whole(&program)?)];
    for verb in program.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages.push((
            format!("man/apmatrix-{}.1", verb.get_name()),
            verb_page(verb)?,
        ));
    }
    Ok(pages)
}

fn man(command: &Command) -> Man {
    let title = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    Man::new(command.clone())
        .title(title)
        .section("1")
        .source(concat!("apmatrix ", env!("CARGO_PKG_VERSION")))
        .manual("apmatrix")
}

fn whole(program: &Command) -> Result<String> {
    let mut page = Vec::new();
    man(program).render(&mut page)?;
    let text = String::from_utf8(page)?;
    Ok(tidy(&text) + ".SH \"SEE ALSO\"\napmatrix\\-machine(5)\n")
}

fn verb_page(verb: &Command) -> Result<String> {
    let mut page = Vec::new();
    let man_page = man(verb);
    man_page.render_title(&mut page)?;
    man_page.render_name_section(&mut page)?;
    man_page.render_synopsis_section(&mut page)?;
    man_page.render_description_section(&mut page)?;
    man_page.render_options_section(&mut page)?;
    let mut text = String::from_utf8(page)?;
    for below in verb.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        text += &section(below)?;
    }
    Ok(tidy(&text) + SEE_ALSO)
}

/// Each part comes with the definition of the apostrophe in front; the first is enough.
fn tidy(text: &str) -> String {
    let mut lines = text.lines();
    let preamble: Vec<&str> = lines.by_ref().take(2).collect();
    let is_repeated = |line: &str| preamble.contains(&line);
    preamble
        .iter()
        .copied()
        .chain(lines.filter(|line| !is_repeated(line)))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// A verb's verb, as a section of the verb's page.
fn section(verb: &Command) -> Result<String> {
    let mut part = Vec::new();
    let man_page = man(verb);
    man_page.render_synopsis_section(&mut part)?;
    man_page.render_description_section(&mut part)?;
    if verb.get_arguments().any(|argument| !argument.is_hide_set()) {
        man_page.render_options_section(&mut part)?;
    }
    let text = String::from_utf8(part)?.replace(".SH ", ".SS ");
    Ok(format!(
        ".SH {}\n{text}",
        verb.get_name().to_ascii_uppercase().replace('-', "\\-")
    ))
}
