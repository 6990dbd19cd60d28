//! The verbs about what was written since boot.

use std::path::PathBuf;

use argh::FromArgs;

/// Look into what was written since a boot, and bring it back.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "session")]
pub struct Session {
    /// what to do
    #[argh(subcommand)]
    pub verb: SessionVerb,
}

/// What to do with sessions.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum SessionVerb {
    /// see [`SessionList`]
    List(SessionList),
    /// see [`SessionDiff`]
    Diff(SessionDiff),
    /// see [`SessionRecover`]
    Recover(SessionRecover),
    /// see [`SessionDrop`]
    Drop(SessionDrop),
}

/// List the sessions that have ended and stay, and the one that runs.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list")]
pub struct SessionList {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Tell what was changed in an ended session.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "diff")]
pub struct SessionDiff {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
    /// its number; without it, the last that ended
    #[argh(positional)]
    pub session: Option<String>,
}

/// Bring files and folders back as they were at the end of a session.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "recover")]
pub struct SessionRecover {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// the number of the session; without it, the last that ended
    #[argh(option)]
    pub session: Option<String>,
    /// a folder to put them in; without it, they take their old places, and what is there goes
    #[argh(option)]
    pub to: Option<PathBuf>,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
    /// what to bring back
    #[argh(positional, arg_name = "path")]
    pub paths: Vec<PathBuf>,
}

/// Remove ended sessions.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "drop")]
pub struct SessionDrop {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// every one
    #[argh(switch)]
    pub all: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
    /// their numbers
    #[argh(positional, arg_name = "session")]
    pub sessions: Vec<String>,
}

/// Have the session that runs go on over the next boots: what is written stays, and no new generation is taken.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "thaw")]
pub struct Thaw {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// over how many boots; 1 without it
    #[argh(option, default = "1")]
    pub boots: u32,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Take back `thaw`: the next boot begins anew.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "freeze")]
pub struct Freeze {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}
