//! The command line as scripts see it: help, exit codes, and what is printed where.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use support::{Model, PROGRAM, run};

#[test]
fn help_goes_to_standard_output_and_names_every_verb() {
    let ran = run(&["--help"]).expect(0);
    assert_eq!(ran.errors, "");
    for verb in [
        "setup", "init", "publish", "lint", "list", "show", "delta", "verify", "prune", "export",
        "netboot", "serve",
    ] {
        assert!(
            ran.output.contains(&format!("\n  {verb} ")),
            "{verb}: {}",
            ran.output
        );
        let ran = run(&[verb, "--help"]).expect(0);
        assert!(
            ran.output
                .starts_with(&format!("Usage: reclone-model {verb} ")),
            "{}",
            ran.output
        );
    }
    assert!(
        ran.output
            .contains("  3 `verify` or `lint` found something."),
        "{}",
        ran.output
    );
}

#[test]
fn the_manual_names_every_option_and_everything_that_is_left_out() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/man/reclone-model.8");
    let manual = std::fs::read_to_string(manual).unwrap();
    assert!(manual.contains(reclone_model::exclude::BUILT_IN));
    for verb in [
        "setup", "init", "publish", "lint", "list", "show", "delta", "verify", "prune", "export",
        "netboot", "serve",
    ] {
        let section = manual.split(&format!("\n.Ss {verb}")).nth(1).unwrap();
        let section = section.split("\n.S").next().unwrap();
        let help = run(&[verb, "--help"]).output;
        let options = help
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("--"));
        let options = options.map(|line| line.split([' ', ',']).next().unwrap());
        for option in options.filter(|option| *option != "help") {
            assert!(
                section.contains(&format!("\n.It Fl -{option}")),
                "{verb}: --{option}"
            );
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    let ran = run(&["--version"]).expect(0);
    assert_eq!(
        ran.output,
        concat!("reclone-model ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn what_can_not_be_understood_ends_with_2_and_says_why() {
    let model = Model::new();
    let (store, key) = (model.store_text(), model.key_text());
    for (arguments, text) in [
        (
            &[][..],
            "No command was given; `reclone-model --help` lists them",
        ),
        (&["bogus"], "Unrecognized argument: bogus"),
        (&["publish", &store], "--key"),
        (
            &["publish", "--key", &key, "--level", "23", &store],
            "--level 23 is not between 1 and 22",
        ),
        (
            &["publish", "--key", &key, "--cross", "../x", &store],
            "part `.` or `..`",
        ),
        (&["prune", "--keep", "few", &store], "few"),
        (
            &["serve", "--tls-cert", "x", &store],
            "--tls-cert and --tls-key belong together",
        ),
        (
            &["init", "--model", "a b", "--key", &key, "x"],
            "`a b` can not be a model's name",
        ),
    ] {
        let ran = run(arguments).expect(2);
        assert_eq!(ran.output, "", "{arguments:?}");
        ran.says(text);
    }
}

#[test]
fn an_error_names_the_file_and_its_cause_in_one_line() {
    let model = Model::new();
    let (store, key) = (model.store_text(), model.text("no-key"));
    let ran = run(&["publish", "--key", &key, &store]).expect(1);
    assert_eq!(
        ran.errors,
        format!("reclone-model: Can not read {key}: No such file or directory (os error 2)\n")
    );
}

#[test]
fn quiet_leaves_warnings_and_the_last_line() {
    let model = Model::new();
    let (store, key, tree) = (model.store_text(), model.key_text(), model.text("tree"));
    let ran = run(&["--quiet", "publish", "--from", &tree, "--key", &key, &store]).expect(0);
    assert_eq!((ran.output.as_str(), ran.errors.as_str()), ("1\n", ""));
}

#[test]
fn serve_says_where_it_listens_and_serves_the_head() {
    let model = Model::new();
    model.publish(&[]).expect(0);
    let mut server = Command::new(PROGRAM)
        .args(["serve", &model.store_text(), "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /head HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let head = std::fs::read(model.store().join("head")).unwrap();
    assert!(
        answer.ends_with(&head),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
