//! The documents say what the program does: the manual pages of the clone's side have every verb, option, mode, exit code
//! and key, and no others; every file that a document names is there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reclone::config::{CONFIG_FILE, Config};

type Words = BTreeSet<String>;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What `reclone WORDS --help` prints.
fn help(words: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_reclone"));
    let output = program.args(words).arg("--help").output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The lines below a heading of a help text, up to the empty line.
fn below<'a>(help: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let lines = help.lines().skip_while(move |line| *line != heading);
    lines.skip(1).take_while(|line| !line.is_empty())
}

/// The first word of each entry below a heading; further lines of an entry stand further in.
fn names(help: &str, heading: &str) -> Words {
    let entries = below(help, heading).filter(|line| !line.starts_with("   "));
    entries
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The long options that a help text lists. `--help` is everywhere and told once.
fn options(help: &str) -> Words {
    let lines = below(help, "Options:").filter(|line| !line.starts_with("   "));
    let long = lines.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
    let names = long.map(|word| word.trim_end_matches(',').to_owned());
    names.filter(|name| name != "--help").collect()
}

/// A part of a manual page: what follows the line `heading`, up to the next heading of its kind or above.
fn section<'a>(page: &'a str, heading: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = page.lines().skip_while(move |line| {
        *line != heading
            && !line
                .strip_prefix(heading)
                .is_some_and(|rest| rest.starts_with(' '))
    });
    let is_part = heading.starts_with(".Ss");
    lines
        .skip(1)
        .take_while(move |line| !(line.starts_with(".Sh") || is_part && line.starts_with(".Ss")))
}

/// The words after the macro in the list items of a part: `Fl -pool` is the option `--pool`.
fn items(page: &str, heading: &str, macro_name: &str) -> Words {
    let mut found = Words::new();
    for line in section(page, heading).filter_map(|line| line.strip_prefix(".It ")) {
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.windows(2).filter(|pair| pair[0] == macro_name) {
            found.insert(pair[1].to_owned());
        }
    }
    found
}

/// The long options in the list items of a part.
fn told_options(page: &str, heading: &str) -> Words {
    let flags = items(page, heading, "Fl").into_iter();
    flags
        .filter(|flag| flag.starts_with('-'))
        .map(|flag| format!("-{flag}"))
        .collect()
}

/// The words that an arm of `match` in the function `name` of `config.rs` begins with.
fn matched(name: &str) -> Words {
    let source = read("agent/src/config.rs");
    let body = source.split_once(&format!("fn {name}(")).unwrap().1;
    let body = body.split_once("\n    }\n").unwrap().0;
    let arms = body.lines().filter(|line| line.contains("=>"));
    let words = arms.filter_map(|line| line.trim().strip_prefix('"')?.split('"').next());
    words.map(str::to_owned).collect()
}

#[test]
fn the_manual_has_every_verb_and_every_option() {
    let (page, top) = (read("docs/man/reclone.8"), help(&[]));
    assert_eq!(told_options(&page, ".Sh OPTIONS"), options(&top));
    let verbs = names(&top, "Commands:");
    let told = section(&page, ".Sh COMMANDS").filter_map(|line| line.strip_prefix(".Ss "));
    assert_eq!(told.map(str::to_owned).collect::<Words>(), verbs);
    for verb in &verbs {
        let told = told_options(&page, &format!(".Ss {verb}"));
        assert_eq!(told, options(&help(&[verb])), "{verb}");
    }
}

#[test]
fn manual_and_readme_have_every_exit_code_and_mode() {
    let (page, readme) = (read("docs/man/reclone.8"), read("README.md"));
    let codes = names(&help(&[]), "Error codes:");
    let told = section(&page, ".Sh EXIT STATUS").filter_map(|line| line.strip_prefix(".It "));
    assert_eq!(told.map(str::to_owned).collect::<Words>(), codes);
    for line in below(&help(&[]), "Error codes:") {
        let (code, meaning) = line.trim().split_once(' ').unwrap();
        let row = format!("| {code} | {meaning} |");
        assert!(readme.contains(&row), "README.md lacks `{row}`");
    }
    let modes = matched("set_mode");
    assert_eq!(items(&page, ".Sh THE BOOT", "Cm"), modes);
    for mode in &modes {
        let row = format!("| `reclone={mode}` |");
        assert!(readme.contains(&row), "README.md lacks `{row}`");
    }
}

#[test]
fn manual_and_design_have_every_key_of_the_configuration() {
    let keys = matched("set");
    assert!(keys.len() >= 10, "{keys:?}");
    let told = items(&read("docs/man/reclone.conf.5"), ".Sh KEYS", "Ic");
    assert_eq!(told, keys);
    let design = read("docs/design.md");
    for key in &keys {
        let row = format!("| `{key}` |");
        assert!(design.contains(&row), "docs/design.md lacks `{row}`");
    }
}

#[test]
fn the_example_of_a_configuration_is_read_without_complaint() {
    let page = read("docs/man/reclone.conf.5");
    let example: Vec<&str> = section(&page, ".Sh EXAMPLES")
        .filter(|line| !line.starts_with('.'))
        .collect();
    let mut config = Config::default();
    let complaints = config.read_file(Path::new(CONFIG_FILE), example.join("\n").as_bytes());
    assert_eq!(complaints, []);
    assert!(config.store.is_some() && config.key.is_some() && config.model.is_some());
}

/// The words of a document that name a file of the project: those that begin with one of its folders. A name with `*`, `<`
/// or `{` stands for several and is not looked for.
fn named_files<'a>(text: &'a str, folders: &'a [String]) -> impl Iterator<Item = &'a str> {
    let is_end = |letter: char| letter.is_whitespace() || "`()[],;:|\"'".contains(letter);
    let words = text
        .split(is_end)
        .map(|word| word.trim_end_matches(['.', '/']));
    words.filter(|word| {
        let folder = word.split_once('/').map_or("", |(folder, _)| folder);
        folders.iter().any(|known| known == folder) && !word.contains(['*', '<', '{', '…'])
    })
}

/// The project's documents.
fn documents() -> Vec<String> {
    let docs = fs::read_dir(project().join("docs")).unwrap();
    let docs = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    let others = ["README.md", "CHANGELOG.md"];
    docs.filter(|name| name.ends_with(".md"))
        .chain(others.map(str::to_owned))
        .collect()
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let folders: Vec<String> = fs::read_dir(project())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    // What a build or a run leaves is not in the source.
    let ignored = read(".gitignore");
    let is_source = |name: &str| {
        let mut ignored = ignored.lines().map(|line| line.trim_start_matches('/'));
        !ignored.any(|start| Path::new(name).starts_with(start))
    };
    let (mut count, mut missing) = (0, Vec::new());
    for document in documents() {
        let text = read(&document);
        for name in named_files(&text, &folders).filter(|name| is_source(name)) {
            count += 1;
            if !project().join(name).exists() {
                missing.push(format!("{document} names {name}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert!(count > 50, "{count} names");
}
