//! The verbs that look at a tree or mend a part of it.

use std::path::PathBuf;

use argh::FromArgs;

/// Make files and folders exactly as in a generation, from the pool: content, attributes, nothing added.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "restore")]
pub struct Restore {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// a number, `current` or `previous`; without it, the generation that runs, or else the current one
    #[argh(option)]
    pub generation: Option<String>,
    /// a folder that stands for the top of the tree, such as an empty disk
    #[argh(option)]
    pub to: Option<PathBuf>,
    /// replace only what differs, one file at a time
    #[argh(switch)]
    pub in_place: bool,
    /// read every file, whatever its time says
    #[argh(switch)]
    pub checksum: bool,
    /// say what differs, and change nothing
    #[argh(switch, short = 'n')]
    pub dry_run: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
    /// what to restore; `/` is everything
    #[argh(positional, arg_name = "path")]
    pub paths: Vec<PathBuf>,
}

/// Tell what differs from the generation that runs.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "diff")]
pub struct Diff {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// a number, `current` or `previous`; without it, the generation that runs, or else the current one
    #[argh(option)]
    pub generation: Option<String>,
    /// tell what the next boot brings: how the newest generation in the pool differs from the one that runs
    #[argh(switch)]
    pub next: bool,
    /// a folder that stands for the top of the tree
    #[argh(option)]
    pub to: Option<PathBuf>,
    /// read every file, whatever its time says
    #[argh(switch)]
    pub checksum: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
    /// what to look at; without any, everything
    #[argh(positional, arg_name = "path")]
    pub paths: Vec<PathBuf>,
}
