//! A man page from one of our documents: headings, paragraphs, lists and code blocks.

use std::fmt::Write as _;

/// The page of `markdown`, whose first heading is left out.
pub(crate) fn from_markdown(name: &str, section: &str, what: &str, markdown: &str) -> String {
    let mut page = format!(
        ".TH {name} {section}\n.SH NAME\n{} \\- {}\n.SH DESCRIPTION\n",
        escape(name),
        escape(what)
    );
    let mut is_code = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
            page += if is_code { ".nf\n" } else { ".fi\n" };
        } else if is_code {
            _ = writeln!(page, "{}", escape(line));
        } else if line.starts_with("# ") {
        } else if let Some(heading) = line.strip_prefix("## ") {
            _ = writeln!(page, ".SH {}", escape(&heading.to_uppercase()));
        } else if let Some(heading) = line.strip_prefix("### ") {
            _ = writeln!(page, ".SS {}", escape(heading));
        } else if let Some(item) = line.strip_prefix("- ") {
            _ = writeln!(page, ".IP \\(bu 2\n{}", inline(item));
        } else if line.is_empty() {
            if !page.ends_with(".PP\n") {
                page += ".PP\n";
            }
        } else {
            _ = writeln!(page, "{}", inline(line.trim_start()));
        }
    }
    page.replace(".SH DESCRIPTION\n.PP\n", ".SH DESCRIPTION\n")
}

/// Code words become bold; `**` and link brackets are dropped.
fn inline(line: &str) -> String {
    let mut is_bold = false;
    let mut text = String::new();
    for (number, part) in line.split('`').enumerate() {
        if number > 0 {
            is_bold = !is_bold;
            text += if is_bold { "\\fB" } else { "\\fR" };
        }
        text += &escape(part).replace("**", "");
    }
    if text.starts_with(['.', '\'']) {
        text.insert_str(0, "\\&");
    }
    text
}

fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}
