//! The verbs that make a machine a clone, and no clone.

use std::path::PathBuf;

use argh::FromArgs;

/// Make this machine a clone, from its next boot on: show what would come, write the configuration, make the initramfs anew.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "enroll")]
pub struct Enroll {
    /// the model's public key: a file, or its line in base64
    #[argh(option)]
    pub key: String,
    /// the model to follow; any other is refused
    #[argh(option)]
    pub model: Option<String>,
    /// a PEM file of certificate authorities to believe, in /etc/reclone
    #[argh(option)]
    pub ca: Option<PathBuf>,
    /// SHA-256 of the server's public key, instead of an authority
    #[argh(option)]
    pub pin: Option<String>,
    /// a file with the bearer token, in /etc/reclone
    #[argh(option)]
    pub token_file: Option<PathBuf>,
    /// an HTTP proxy: http://HOST:PORT
    #[argh(option)]
    pub proxy: Option<String>,
    /// show what would come and what would be written, and change nothing
    #[argh(switch, short = 'n')]
    pub dry_run: bool,
    /// the store: http://… or https://…
    #[argh(positional)]
    pub store: String,
}

/// Make this machine no clone any more: take the configuration away and make the initramfs anew. Run it in the plain system
/// (reclone=off).
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "unenroll")]
pub struct Unenroll {
    /// remove the pool, too, with what was kept and with all sessions; kept folders go back to their places
    #[argh(switch)]
    pub remove_pool: bool,
    /// say what would be done, and change nothing
    #[argh(switch, short = 'n')]
    pub dry_run: bool,
}

/// Lay out an empty disk for the boot that goes on, in an initramfs started over the network, and print its root partition.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "install")]
pub struct Install {
    /// the serial number of a disk with data, to give that up
    #[argh(option)]
    pub over: Option<String>,
    /// look at disk and store, and change nothing
    #[argh(switch, short = 'n')]
    pub dry_run: bool,
    /// the disk; without it, reclone.install= of the kernel command line
    #[argh(positional)]
    pub disk: Option<PathBuf>,
}
