//! The command line: verbs and options, as argh reads them. What they mean is the business of [`crate::run`].

mod enroll;
mod session;
mod tree;

use std::path::PathBuf;

use argh::FromArgs;

pub use enroll::{Enroll, Install, Unenroll};
pub use session::{
    Freeze, Session, SessionDiff, SessionDrop, SessionList, SessionRecover, SessionVerb, Thaw,
};
pub use tree::{Diff, Restore};

/// Restores this machine to the model's newest generation. Every verb works at boot, in the rescue shell and, as root,
/// on any folder.
#[derive(FromArgs, Debug)]
#[argh(
    note = "Options that are not given come from /etc/reclone/reclone.conf and the kernel command line.",
    error_code(0, "done"),
    error_code(1, "a system call or a program failed; the message names it"),
    error_code(2, "wrong command line or configuration"),
    error_code(3, "no pool, or no such generation, session or path in it"),
    error_code(4, "the store could not be reached"),
    error_code(5, "what the store has was refused: signature, serial, model, format"),
    error_code(6, "the disk is full"),
    error_code(7, "another reclone works on the pool"),
    error_code(8, "the pool is damaged"),
    error_code(9, "what was compared differs"),
    error_code(10, "a health check failed")
)]
pub struct Arguments {
    /// print the version and exit
    #[argh(switch)]
    pub version: bool,
    /// say nothing but warnings and errors
    #[argh(switch, short = 'q')]
    pub quiet: bool,
    /// say more
    #[argh(switch, short = 'v')]
    pub verbose: bool,
    /// what to do
    #[argh(subcommand)]
    pub verb: Option<Verb>,
}

/// What to do.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum Verb {
    /// see [`Enroll`]
    Enroll(Enroll),
    /// see [`Unenroll`]
    Unenroll(Unenroll),
    /// see [`Sync`]
    Sync(Sync),
    /// see [`Fetch`]
    Fetch(Fetch),
    /// see [`Assemble`]
    Assemble(Assemble),
    /// see [`Boot`]
    Boot(Boot),
    /// see [`Install`]
    Install(Install),
    /// see [`Status`]
    Status(Status),
    /// see [`Explain`]
    Explain(Explain),
    /// see [`Diff`]
    Diff(Diff),
    /// see [`Restore`]
    Restore(Restore),
    /// see [`Session`]
    Session(Session),
    /// see [`Thaw`]
    Thaw(Thaw),
    /// see [`Freeze`]
    Freeze(Freeze),
    /// see [`Verify`]
    Verify(Verify),
    /// see [`Good`]
    Good(Good),
    /// see [`Loader`]
    Loader(Loader),
    /// see [`Rollback`]
    Rollback(Rollback),
    /// see [`Reset`]
    Reset(Reset),
    /// see [`Prune`]
    Prune(Prune),
}

/// Fetch the store's newest generation and make it current; it is booted the next time.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "sync")]
pub struct Sync {
    /// the store: http://…, https://… or a path; without it, that of the configuration or of the last sync
    #[argh(option)]
    pub store: Option<String>,
    /// the model's public key: a file, or its line in base64
    #[argh(option)]
    pub key: Option<String>,
    /// the model to follow; any other is refused
    #[argh(option)]
    pub model: Option<String>,
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// a PEM file of certificate authorities to believe
    #[argh(option)]
    pub ca: Option<PathBuf>,
    /// SHA-256 of the server's public key, instead of an authority
    #[argh(option)]
    pub pin: Option<String>,
    /// a file with the bearer token
    #[argh(option)]
    pub token_file: Option<PathBuf>,
    /// an HTTP proxy: http://HOST:PORT
    #[argh(option)]
    pub proxy: Option<String>,
    /// seconds until everything must be over; no limit without it
    #[argh(option)]
    pub timeout: Option<u64>,
    /// where files may be that a first sync need not fetch, such as /
    #[argh(option)]
    pub plain_root: Option<PathBuf>,
    /// say what would be fetched and changed; nothing is written to the pool
    #[argh(switch, short = 'n')]
    pub dry_run: bool,
    /// with --dry-run: list the paths that would change
    #[argh(switch)]
    pub diff: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Fetch the store's newest generation and stage it; the next sync or boot makes it current, without the network but for the
/// head.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "fetch")]
pub struct Fetch {
    /// the store; without it, that of the configuration or of the last sync
    #[argh(option)]
    pub store: Option<String>,
    /// the model's public key: a file, or its line in base64
    #[argh(option)]
    pub key: Option<String>,
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// bytes a second that may be received at most
    #[argh(option)]
    pub limit_rate: Option<u64>,
    /// seconds until everything must be over; no limit without it
    #[argh(option)]
    pub timeout: Option<u64>,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Mount the current generation at a folder.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "assemble")]
pub struct Assemble {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// the folder for what is written; `none`: read-only; a new one in the pool without this option
    #[argh(option)]
    pub session: Option<PathBuf>,
    /// mount the previous generation instead
    #[argh(switch)]
    pub previous: bool,
    /// where to mount
    #[argh(positional)]
    pub target: PathBuf,
}

/// Sync and assemble, as the initramfs does: the mounted root makes room for the current generation.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "boot")]
pub struct Boot {
    /// where the distribution mounted the root file system
    #[argh(option)]
    pub root: PathBuf,
}

/// Tell what the pool holds, and what starts this machine.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "status")]
pub struct Status {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// look into each initramfs that this machine can boot, too: whether it has reclone; takes about a second each
    #[argh(switch)]
    pub check: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Tell what becomes of a path at the next boot, by which rule, and where its content is.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "explain")]
pub struct Explain {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// print the rules that hold without being asked, and nothing else
    #[argh(switch)]
    pub builtin: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
    /// the path, from the top of the system
    #[argh(positional)]
    pub path: Option<PathBuf>,
}

/// Read every object, manifest and image, and tell what is damaged.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "verify")]
pub struct Verify {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// fetch what is damaged again
    #[argh(switch)]
    pub repair: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
    /// the store; without it, that of the configuration or of the last sync
    #[argh(option)]
    pub store: Option<String>,
    /// the model's public key
    #[argh(option)]
    pub key: Option<String>,
}

/// Run the health checks of /etc/reclone/health.d and end the trial of the generation that runs: no boot of it counts as failed
/// any more.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "good")]
pub struct Good {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// without the health checks
    #[argh(switch)]
    pub force: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Have the boot loader of this machine start the kernel of the generation that runs. A good boot does that by itself where it had to
/// start that kernel after another one.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "loader")]
pub struct Loader {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// only if reclone started that kernel in this boot
    #[argh(switch)]
    pub proven: bool,
    /// have the firmware (UEFI) start first what started this machine, and do nothing else
    #[argh(switch)]
    pub first: bool,
    /// say what would be done, and change nothing
    #[argh(switch, short = 'n')]
    pub dry_run: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Make the previous generation current, until the store has a newer one than that which is left.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "rollback")]
pub struct Rollback {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Sync, check everything, fetch what is damaged, and drop every session that nobody is in.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "reset")]
pub struct Reset {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// the store; without it, that of the configuration or of the last sync
    #[argh(option)]
    pub store: Option<String>,
    /// the model's public key
    #[argh(option)]
    pub key: Option<String>,
    /// remove what is kept, too: files and folders, for good
    #[argh(switch)]
    pub forget: bool,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Remove what neither the current nor the previous generation needs, and ended sessions that are too many.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "prune")]
pub struct Prune {
    /// the pool
    #[argh(option)]
    pub pool: Option<PathBuf>,
    /// how many ended sessions stay
    #[argh(option)]
    pub sessions: Option<u32>,
    /// how much of the disk they may take: `10%`, or a size such as `500M`
    #[argh(option)]
    pub sessions_space: Option<String>,
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}
