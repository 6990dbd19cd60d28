//! The `reclone` program: arguments, log, verb, exit status.

use std::process::ExitCode;

use argh::FromArgs;
use log::{LevelFilter, error};
use reclone::cli::{Arguments, Verb};
use reclone::sys::dns;
use reclone::{run, shutdown};
use simple_logger::SimpleLogger;

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    // systemd runs the shutdown program of an initramfs by this name, with what is to come after it.
    if words
        .next()
        .is_some_and(|name| name.ends_with(shutdown::NAME))
    {
        shutdown::shut_down(&words.next().unwrap_or_default());
    }
    let arguments = match read_arguments() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    if arguments.version {
        println!("reclone {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    dns::use_files_and_dns();
    let level = level(&arguments);
    let Some(verb) = arguments.verb else {
        eprintln!("reclone: one verb is needed; `reclone --help` lists them");
        return ExitCode::from(2);
    };
    // A boot has a log of its own.
    if !matches!(verb, Verb::Boot(_) | Verb::Install(_)) {
        log_to_stderr(level);
    }
    match run::run(verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// The command line, or the exit status where help was asked for or needed. argh's own reader exits with 1 for both a
/// wrong command line and a failed program.
fn read_arguments() -> Result<Arguments, ExitCode> {
    let words: Result<Vec<String>, _> = std::env::args_os()
        .skip(1)
        .map(|word| word.into_string())
        .collect();
    let words = words.map_err(|word| {
        eprintln!("reclone: the argument {word:?} is not UTF-8");
        ExitCode::from(2)
    })?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Arguments::from_args(&["reclone"], &words).map_err(|exit| match exit.status {
        Ok(()) => {
            print!("{}", exit.output);
            ExitCode::SUCCESS
        }
        Err(()) => {
            eprintln!(
                "{}\nRun `reclone --help` for more information.",
                exit.output.trim_end()
            );
            ExitCode::from(2)
        }
    })
}

fn level(arguments: &Arguments) -> LevelFilter {
    match (arguments.quiet, arguments.verbose) {
        (true, _) => LevelFilter::Warn,
        (false, true) => LevelFilter::Debug,
        (false, false) => LevelFilter::Info,
    }
}

/// Without times: the journal and the kernel's log have their own.
fn log_to_stderr(level: LevelFilter) {
    let logger = SimpleLogger::new().with_level(LevelFilter::Warn);
    let _ = logger.with_module_level("reclone", level).init();
}
