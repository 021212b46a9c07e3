//! HELP of a container, made from the rows of its subcommands.

use crate::resp::Reply;

use crate::commands::table::handler::Run;
use crate::commands::table::spec::CommandSpec;

/// Writes each subcommand with its arguments, and what it does; HELP itself comes last.
pub(in crate::commands) fn write<'a>(
    container: &str,
    subcommands: impl Iterator<Item = &'a CommandSpec> + Clone,
    reply: &mut Reply<'_>,
) {
    let is_help = |spec: &&CommandSpec| matches!(spec.run, Run::Help);
    let help = subcommands.clone().filter(is_help);
    let others = subcommands.clone().filter(|spec| !is_help(spec));
    reply.array(1 + 2 * subcommands.count());
    reply.simple(&format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.to_uppercase()
    ));
    for spec in others.chain(help) {
        let syntax = shown(spec.docs.syntax);
        let line = format!("{} {syntax}", spec.own_name().to_uppercase());
        reply.simple(line.trim_end());
        reply.simple(&format!("    {}", spec.docs.summary));
    }
}

/// A syntax as HELP shows it: arguments in angle brackets, choices in round ones.
fn shown(syntax: &str) -> String {
    let (mut line, mut word) = (String::new(), String::new());
    for c in syntax.chars().chain([' ']) {
        let mark = match c {
            '<' => '(',
            '>' => ')',
            '[' | ']' | '|' | ' ' => c,
            _ => {
                word.push(c);
                continue;
            }
        };
        if word.contains(char::is_lowercase) {
            line.extend(["<", &word, ">"]);
        } else {
            line.push_str(&word);
        }
        word.clear();
        line.push(mark);
    }
    line.trim_end().replace(" | ", "|")
}
