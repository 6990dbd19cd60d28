//! The shells complete what the programs take: bash, zsh and fish are asked themselves, and their answers held against the help.
#![allow(clippy::unwrap_used)]

#[path = "../support/programs.rs"]
mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use programs::{reclone, reclone_model, succeed};

/// Words, each with what is said of it; nothing is said of some.
type Words = BTreeMap<String, String>;

/// The words that may stand at the end of each line.
type Places = BTreeMap<String, Words>;

const PROGRAMS: [&str; 2] = ["reclone", "reclone-model"];
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Where the installed files are kept, under their installed names.
fn completions(shell: &str, program: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../completions");
    folder.join(match shell {
        "zsh" => format!("zsh/_{program}"),
        "fish" => format!("fish/{program}.fish"),
        _ => format!("bash/{program}"),
    })
}

/// What a help text says of each of its entries below a heading.
fn entries(help: &str, heading: &str) -> Words {
    let mut entries: Vec<(Vec<&str>, String)> = Vec::new();
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    for line in lines.take_while(|line| !line.is_empty()) {
        let mut text = line;
        if !line.starts_with("   ") {
            // An entry has one name, or two with a comma between them.
            let mut names = Vec::new();
            loop {
                text = text.trim_start();
                let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
                text = rest;
                names.push(name.trim_end_matches(','));
                if !name.ends_with(',') {
                    break;
                }
            }
            entries.push((names, String::new()));
        }
        let (_, whole) = entries.last_mut().unwrap();
        *whole = format!("{whole} {}", text.trim()).trim().to_owned();
    }
    let named = entries.into_iter().flat_map(|(names, text)| {
        // `help` without dashes does what `--help` does.
        let names = names.into_iter().filter(|name| *name != "help");
        names.map(move |name| (name.to_owned(), text.clone()))
    });
    named.collect()
}

/// The help of the program, or of a verb, that a line begins with.
fn help(line: &str) -> String {
    let mut words = line.split_whitespace().filter(|word| *word != "-");
    let mut command = match words.next() {
        Some("reclone") => reclone(),
        _ => reclone_model(),
    };
    let (help, _) = succeed(command.args(words).arg("--help"));
    help
}

/// Finds, in the help of a program or verb and of the verbs below it, every line that ends where a verb or an option is to come.
fn find_places(line: &str, places: &mut Places) {
    let help = help(line);
    let options = entries(&help, "Options:");
    assert!(options.contains_key("--help"), "{help}");
    places.insert(format!("{line} -"), options);
    let verbs = entries(&help, "Commands:");
    for verb in verbs.keys() {
        find_places(&format!("{line} {verb}"), places);
    }
    if !verbs.is_empty() {
        places.insert(format!("{line} "), verbs);
    }
}

fn places(program: &str) -> Places {
    let mut places = Places::new();
    find_places(program, &mut places);
    assert!(places.len() > 10, "{places:?}");
    places
}

/// What a shell offers at the end of each line, in a folder with a file and a folder; nothing where there is no such shell.
fn ask(shell: &str, program: &str, questions: &[&str]) -> Option<Places> {
    if let Err(error) = Command::new(shell).arg("--version").output() {
        eprintln!("SKIPPED: no {shell}: {error}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("here");
    fs::create_dir_all(here.join("folder")).unwrap();
    fs::write(here.join("file"), "").unwrap();
    let script = completions(shell, program);
    let mut command;
    let answers = folder.path().join("answers");
    if shell == "zsh" {
        fs::write(folder.path().join(".zshrc"), include_str!("ask.zsh")).unwrap();
        command = Command::new("script");
        command.args(["-qec", "zsh -d -i", "/dev/null"]);
        command.env("ZDOTDIR", folder.path());
        command.env("COMPLETIONS", script.parent().unwrap());
        command.env("ANSWERS", &answers);
        command.env("QUESTIONS", questions.join("\n"));
        command.env("TERM", "vt100");
    } else {
        command = Command::new(shell);
        command.args(match shell {
            "fish" => ["--no-config", "-c", include_str!("ask.fish")].as_slice(),
            _ => &["--norc", "-c", include_str!("ask.bash"), "bash"],
        });
        command.arg(script).args(questions);
    }
    command.env("HOME", folder.path()).env("LC_ALL", "C.UTF-8");
    command.current_dir(&here).stdin(Stdio::null());
    let (said, complaints) = succeed(&mut command);
    assert_eq!(complaints, "", "{shell}");
    let said = fs::read_to_string(answers).unwrap_or(said);
    let mut offered: Places = questions
        .iter()
        .map(|line| ((*line).to_owned(), Words::new()))
        .collect();
    let mut question = "";
    for line in said.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("? ") {
            Some(next) => question = next,
            None => {
                let (word, text) = line.split_once('\t').unwrap_or((line, ""));
                let words = offered.get_mut(question).unwrap();
                words.insert(word.trim_end_matches('/').to_owned(), text.to_owned());
            }
        }
    }
    Some(offered)
}

#[test]
fn every_shell_completes_the_verbs_and_options_of_the_help_and_no_others() {
    for program in PROGRAMS {
        let places = places(program);
        let questions: Vec<&str> = places.keys().map(String::as_str).collect();
        for shell in SHELLS {
            let Some(offered) = ask(shell, program, &questions) else {
                continue;
            };
            for (place, words) in &places {
                let offered = &offered[place];
                let names = offered.keys().collect::<Vec<_>>();
                assert_eq!(names, words.keys().collect::<Vec<_>>(), "{shell}: {place}");
                for (name, text) in offered {
                    assert!(
                        words[name].starts_with(text),
                        "{shell}: {place}{name}: {text}"
                    );
                }
            }
        }
    }
}

#[test]
fn bash_and_zsh_know_which_options_want_a_value() {
    for program in PROGRAMS {
        // Where a value is to come no option is offered; behind an option without one, others are.
        let mut wanted = BTreeMap::new();
        for (place, words) in places(program) {
            let Some(line) = place.strip_suffix('-') else {
                continue;
            };
            let usage = help(line);
            // Behind `--help` nothing matters.
            for option in words.keys().filter(|option| *option != "--help") {
                let wants = usage.contains(&format!("{option} <"));
                wanted.insert(format!("{line}{option} -"), wants);
            }
        }
        assert!(wanted.values().any(|wants| *wants));
        let questions: Vec<&str> = wanted.keys().map(String::as_str).collect();
        // fish offers options wherever a word begins with a dash.
        for shell in ["bash", "zsh"] {
            let Some(offered) = ask(shell, program, &questions) else {
                continue;
            };
            for (question, wants) in &wanted {
                assert_eq!(offered[question].is_empty(), *wants, "{shell}: {question}");
            }
        }
    }
}

#[test]
fn every_shell_completes_paths_and_the_few_words_that_a_value_can_be() {
    let (folders, all): (&[&str], &[&str]) = (&["folder"], &["file", "folder"]);
    let cases: [(&str, &[&str]); 30] = [
        ("reclone re", &["reset", "restore"]),
        ("reclone --quiet ro", &["rollback"]),
        ("reclone session d", &["diff", "drop"]),
        ("reclone session --he", &["--help"]),
        ("reclone session diff --j", &["--json"]),
        ("reclone restore --g", &["--generation"]),
        ("reclone restore --generation ", &["current", "previous"]),
        ("reclone diff --json --generation p", &["previous"]),
        ("reclone restore ", all),
        ("reclone restore file f", all),
        ("reclone restore folder --to ", folders),
        ("reclone diff ", all),
        ("reclone explain --pool folder fi", &["file"]),
        ("reclone session recover ", all),
        ("reclone session recover --session ", &[]),
        ("reclone assemble --session ", &["folder", "none"]),
        ("reclone assemble --session none ", folders),
        ("reclone sync --pool ", folders),
        ("reclone sync --key ", all),
        ("reclone fetch --limit-rate ", &[]),
        ("reclone thaw --boots ", &[]),
        ("reclone prune --sessions ", &[]),
        ("reclone boot --root ", folders),
        ("reclone-model s", &["serve", "setup", "show"]),
        (
            "reclone-model publish --effort ",
            &["high", "low", "normal"],
        ),
        ("reclone-model publish --from ", folders),
        ("reclone-model delta --from ", &[]),
        ("reclone-model delta folder --effort h", &["high"]),
        ("reclone-model init --key ", all),
        ("reclone-model -q export ", folders),
    ];
    for program in PROGRAMS {
        let cases = cases
            .into_iter()
            .filter(|(question, _)| question.split(' ').next() == Some(program));
        let cases: BTreeMap<&str, &[&str]> = cases.collect();
        let questions: Vec<&str> = cases.keys().copied().collect();
        for shell in SHELLS {
            let Some(offered) = ask(shell, program, &questions) else {
                continue;
            };
            for (question, expected) in &cases {
                let words: Vec<&str> = offered[*question].keys().map(String::as_str).collect();
                assert_eq!(words, *expected, "{shell}: {question}");
            }
        }
    }
}

#[test]
fn what_zsh_shows_beside_verbs_and_options_begins_what_the_help_says() {
    for program in PROGRAMS {
        let places = places(program);
        let script = fs::read_to_string(completions("zsh", program)).unwrap();
        let mut shown = BTreeSet::new();
        // A verb stands as 'verb:text', an option as '--option[text]' or {-o,--option}'[text]'.
        for line in script.lines().map(str::trim_start) {
            let option = line
                .split_once('[')
                .and_then(|(name, rest)| Some((name, rest.split_once(']')?.0)));
            let Some((name, text)) = option.or_else(|| line.split_once(':')) else {
                continue;
            };
            let name = name.trim_end_matches(['\'', '"', '}']);
            let name = name.rsplit(['\'', '"', ',', '*']).next().unwrap();
            let text = text.trim_end_matches(['\'', '"']);
            let mut said = places
                .values()
                .filter_map(|words| words.get(name))
                .peekable();
            if said.peek().is_some() {
                assert!(said.any(|help| help.starts_with(text)), "{name}: {text}");
                shown.insert(name);
            }
        }
        let names = places.values().flat_map(BTreeMap::keys).map(String::as_str);
        let long: BTreeSet<&str> = names.filter(|name| name.len() > "-n".len()).collect();
        assert_eq!(shown, long);
    }
}
