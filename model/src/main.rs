//! The `reclone-model` program: parse, log, run, say what went wrong.

use std::process::ExitCode;

use argh::FromArgs;
use log::LevelFilter;
use reclone_model::cli::Arguments;
use reclone_model::error::Error;
use reclone_model::run::{Verdict, run};

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const WRONG: u8 = 3;

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let level = match arguments.quiet {
        true => LevelFilter::Warn,
        false => LevelFilter::Info,
    };
    let logger = simple_logger::SimpleLogger::new().with_level(level);
    if let Err(error) = logger.init() {
        eprintln!("reclone-model: no log: {error}");
    }
    match run(arguments) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Wrong) => ExitCode::from(WRONG),
        Err(error) => {
            eprintln!("reclone-model: {}", error.chain());
            match error {
                Error::Usage(_) => ExitCode::from(USAGE),
                _ => ExitCode::from(FAILED),
            }
        }
    }
}

fn parse() -> Result<Arguments, ExitCode> {
    let given: Result<Vec<String>, _> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.into_string())
        .collect();
    let given = given.map_err(|argument| {
        eprintln!("reclone-model: {argument:?} is not UTF-8");
        ExitCode::from(USAGE)
    })?;
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    Arguments::from_args(&["reclone-model"], &given).map_err(|exit| match exit.status {
        Ok(()) => {
            println!("{}", exit.output);
            ExitCode::SUCCESS
        }
        Err(()) => {
            eprintln!("{}", exit.output.trim_end());
            ExitCode::from(USAGE)
        }
    })
}
