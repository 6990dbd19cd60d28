//! The manual page says what the program does: it has every command, option, exit code and built-in exclusion, and no
//! others.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use reclone_model::exclude::BUILT_IN;

type Words = BTreeSet<String>;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man/reclone-model.8");
    std::fs::read_to_string(path).unwrap()
}

/// What `reclone-model WORDS --help` prints.
fn help(words: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_reclone-model"));
    let output = program.args(words).arg("--help").output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The first lines of the entries below a heading of a help text; further lines of an entry stand further in.
fn entries<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.filter(|line| !line.starts_with("   ")).collect()
}

/// The first word of each entry.
fn names(help: &str, heading: &str) -> Words {
    let entries = entries(help, heading).into_iter();
    entries
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The long options that a help text lists. `--help` is everywhere and told once.
fn options(help: &str) -> Words {
    let lines = entries(help, "Options:").into_iter();
    let long = lines.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
    let names = long.map(|word| word.trim_end_matches(',').to_owned());
    names.filter(|name| name != "--help").collect()
}

/// A part of the page: what follows the line that begins with `heading`, up to the next heading of its kind or above.
fn section<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let begins = |line: &str| line == heading || line.starts_with(&format!("{heading} "));
    let is_part = heading.starts_with(".Ss");
    let lines = page.lines().skip_while(|line| !begins(line)).skip(1);
    lines
        .take_while(|line| !(line.starts_with(".Sh") || is_part && line.starts_with(".Ss")))
        .collect()
}

/// The long options in the list items of a part: `Fl -key` is the option `--key`.
fn told_options(page: &str, heading: &str) -> Words {
    let lines = section(page, heading).into_iter();
    let words = lines
        .filter_map(|line| line.strip_prefix(".It Fl "))
        .flat_map(|line| line.split(' '));
    words
        .filter(|word| word.starts_with('-'))
        .map(|word| format!("-{word}"))
        .collect()
}

#[test]
fn the_manual_has_every_command_and_every_option() {
    let (page, top) = (page(), help(&[]));
    assert_eq!(told_options(&page, ".Sh OPTIONS"), options(&top));
    let commands = names(&top, "Commands:");
    let told = section(&page, ".Sh COMMANDS").into_iter();
    let told = told.filter_map(|line| line.strip_prefix(".Ss ")?.split(' ').next());
    assert_eq!(told.map(str::to_owned).collect::<Words>(), commands);
    for command in &commands {
        let told = told_options(&page, &format!(".Ss {command}"));
        assert_eq!(told, options(&help(&[command])), "{command}");
    }
}

#[test]
fn the_manual_has_every_exit_code() {
    let page = page();
    let told = section(&page, ".Sh EXIT STATUS").into_iter();
    let told = told.filter_map(|line| line.strip_prefix(".It "));
    let codes = names(&help(&[]), "Error codes:");
    assert_eq!(told.map(str::to_owned).collect::<Words>(), codes);
}

#[test]
fn the_manual_has_the_built_in_exclusions() {
    assert!(page().contains(BUILT_IN), "they are\n{BUILT_IN}");
}
