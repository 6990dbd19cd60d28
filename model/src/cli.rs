//! The command line: what can be asked for, and its help.

use std::net::SocketAddr;
use std::path::PathBuf;

use argh::FromArgs;

use crate::delta::effort::Effort;

/// Publish one machine's tree, the model, for clones that follow it.
#[derive(FromArgs, Debug)]
#[argh(
    name = "reclone-model",
    example = "Make a store, publish this machine, and serve it:\n  {command_name} init /srv/model --key /root/model.key\n  {command_name} publish --key /root/model.key /srv/model\n  {command_name} serve /srv/model --listen 0.0.0.0:8080\nEvery clone needs /root/model.key.pub. The secret key stays here.",
    error_code(0, "Done."),
    error_code(
        1,
        "It could not be done; standard error says why. Nothing was published."
    ),
    error_code(2, "The command line can not be understood."),
    error_code(3, "`verify` or `lint` found something.")
)]
pub struct Arguments {
    /// what to do
    #[argh(subcommand)]
    pub command: Option<Command>,
    /// print the version
    #[argh(switch)]
    pub version: bool,
    /// say less: only warnings and errors
    #[argh(switch, short = 'q')]
    pub quiet: bool,
}

/// The verbs.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum Command {
    /// Makes this machine a model.
    Setup(Setup),
    /// Makes a store.
    Init(Init),
    /// Publishes a tree.
    Publish(Publish),
    /// Names what should perhaps not be published.
    Lint(Lint),
    /// Names the generations.
    List(List),
    /// Shows one generation.
    Show(Show),
    /// Makes delta packs.
    Delta(Delta),
    /// Checks the store.
    Verify(Verify),
    /// Forgets old generations.
    Prune(Prune),
    /// Copies a store for clones without a network.
    Export(Export),
    /// Makes what bare machines boot over the network.
    Netboot(Netboot),
    /// Serves a store.
    Serve(Serve),
}

/// Make this machine a model: key pair, store and a first policy, where they are missing, and what to do next. The last line of
/// standard output is the command that enrolls a clone.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "setup",
    note = "What is there already stays as it is, so it can be run again: a second run changes nothing and says the same."
)]
pub struct Setup {
    /// folder of the store (default: /srv/model)
    #[argh(option, default = "PathBuf::from(\"/srv/model\")", arg_name = "DIR")]
    pub store: PathBuf,
    /// secret key; the public key is FILE.pub (default: /root/model.key)
    #[argh(
        option,
        default = "PathBuf::from(\"/root/model.key\")",
        arg_name = "FILE"
    )]
    pub key: PathBuf,
    /// top of the tree that will be published, where the policy goes (default: /)
    #[argh(option, default = "PathBuf::from(\"/\")", arg_name = "DIR")]
    pub from: PathBuf,
    /// name of the model: letters, digits, `.`, `_`, `-` (default: this machine's name)
    #[argh(option, arg_name = "NAME")]
    pub model: Option<String>,
    /// where clones will find the store (default: http, this machine's address, and the port)
    #[argh(option)]
    pub url: Option<String>,
    /// port of the server (default: 8080)
    #[argh(option, default = "8080", arg_name = "N")]
    pub port: u16,
    /// have systemd start `reclone-model serve`, now and at every boot
    #[argh(switch)]
    pub serve_unit: bool,
    /// say what would be made, and make nothing
    #[argh(switch)]
    pub dry_run: bool,
}

/// Make a store and, unless it exists, the key pair that signs it.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "init",
    note = "An existing key is used as it is and never overwritten. Keep FILE secret and keep a copy of it: clones refuse whatever another key signs. Both files are those of the minisign program."
)]
pub struct Init {
    /// folder of the store: new or empty
    #[argh(positional)]
    pub store: PathBuf,
    /// secret key; the public key, which clones need, is FILE.pub
    #[argh(option, arg_name = "FILE")]
    pub key: PathBuf,
    /// name of the model: letters, digits, `.`, `_`, `-` (default: this machine's name)
    #[argh(option, arg_name = "NAME")]
    pub model: Option<String>,
    /// protect a new secret key with a passphrase, asked for on the terminal
    #[argh(switch)]
    pub passphrase: bool,
    /// protect a new secret key with the first line of this file, or open an existing one with it
    #[argh(option, arg_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Publish a tree as the next generation. Prints the newest generation's number as its last line.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "publish",
    note = "A tree that did not change makes no new generation. Contents of /proc, /sys, /dev, /run and /tmp are left out, and so are ssh host keys, DHCP leases, random seeds, downloaded packages and swap files. More is left out by what the tree's own /etc/reclone/policy excludes or keeps, and by its /etc/reclone/exclude: one glob a line, from the top of the tree if it has a `/` at its start or inside; `*` and `?` within a name, `**` across folders, a `/` at the end leaves the folder and takes out its contents, `#` begins a comment. Run it as root: only root can read every file and attribute."
)]
pub struct Publish {
    /// folder of the store
    #[argh(positional)]
    pub store: PathBuf,
    /// top of the tree (default: /)
    #[argh(option, default = "PathBuf::from(\"/\")", arg_name = "DIR")]
    pub from: PathBuf,
    /// secret key of the store
    #[argh(option, arg_name = "FILE")]
    pub key: PathBuf,
    /// first line of this file is the passphrase of the key
    #[argh(option, arg_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// give the model another name
    #[argh(option, arg_name = "NAME")]
    pub model: Option<String>,
    /// also publish what is mounted at PATH (path in the tree; may be given several times)
    #[argh(option, arg_name = "PATH")]
    pub cross: Vec<PathBuf>,
    /// also publish every other file system mounted in the tree, but none of the kernel's own
    #[argh(switch)]
    pub all_file_systems: bool,
    /// publish files that keep changing as they were read last, with a warning
    #[argh(switch)]
    pub allow_changing: bool,
    /// read every file, whatever is known of the last publish
    #[argh(switch)]
    pub rehash: bool,
    /// pack everything again, so that no older pack is needed; makes a new generation even of an unchanged tree, and so
    /// replaces packs that are damaged
    #[argh(switch)]
    pub full: bool,
    /// zstd level, 1 to 22 (default: 9)
    #[argh(option, default = "9", arg_name = "N")]
    pub level: i32,
    /// publish the tree of an older generation once more, so that clones go back to it; nothing is read from DIR
    #[argh(option, arg_name = "GENERATION")]
    pub again: Option<u64>,
    /// also make a delta pack for clones that have generation N (may be given several times; the one before is always meant)
    #[argh(option, arg_name = "N")]
    pub delta_from: Vec<u64>,
    /// make no delta pack
    #[argh(switch)]
    pub no_delta: bool,
    /// how hard to look for small delta packs: low, normal or high (default: normal)
    #[argh(option, default = "Effort::Normal", arg_name = "EFFORT")]
    pub effort: Effort,
    /// say what would be published, and publish nothing
    #[argh(switch)]
    pub dry_run: bool,
}

/// Make the delta packs to the newest generation that the store does not have yet.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "delta",
    note = "A clone that has generation N then needs the difference alone. The head is published again for each delta pack, with the same generation."
)]
pub struct Delta {
    /// folder of the store
    #[argh(positional)]
    pub store: PathBuf,
    /// secret key of the store
    #[argh(option, arg_name = "FILE")]
    pub key: PathBuf,
    /// first line of this file is the passphrase of the key
    #[argh(option, arg_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// from generation N (may be given several times; default: the one before)
    #[argh(option, arg_name = "N")]
    pub from: Vec<u64>,
    /// how hard to look for small ones: low, normal or high (default: normal)
    #[argh(option, default = "Effort::Normal", arg_name = "EFFORT")]
    pub effort: Effort,
}

/// Name what a publish of a tree would take along and perhaps should not: secrets, identities, files in use, what will not work on a clone.
/// Publishes nothing. Exits with 3 if there is something.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "lint")]
pub struct Lint {
    /// top of the tree (default: /)
    #[argh(option, default = "PathBuf::from(\"/\")", arg_name = "DIR")]
    pub from: PathBuf,
    /// also look at what is mounted at PATH (path in the tree; may be given several times)
    #[argh(option, arg_name = "PATH")]
    pub cross: Vec<PathBuf>,
    /// print JSON
    #[argh(switch)]
    pub json: bool,
}

/// List the generations of a store, oldest first.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list")]
pub struct List {
    /// folder of the store
    #[argh(positional)]
    pub store: PathBuf,
    /// print JSON
    #[argh(switch)]
    pub json: bool,
}

/// Show what a store knows about one generation.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// folder of the store
    #[argh(positional)]
    pub store: PathBuf,
    /// number of the generation (default: the newest)
    #[argh(positional)]
    pub generation: Option<u64>,
    /// print JSON
    #[argh(switch)]
    pub json: bool,
    /// list its paths: type and mode, owner, group, size or device, time, path; `h` marks a further name of a file
    #[argh(switch)]
    pub files: bool,
}

/// Check the whole store: signatures, packs, every object, manifests. Exits with 3 if something is wrong, and names it.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "verify")]
pub struct Verify {
    /// folder of the store
    #[argh(positional)]
    pub store: PathBuf,
    /// public key that the heads must be signed by (default: the one that the store was made with)
    #[argh(option, arg_name = "FILE.pub")]
    pub key: Option<PathBuf>,
}

/// Forget old generations and remove the packs that only they need.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "prune")]
pub struct Prune {
    /// folder of the store
    #[argh(positional)]
    pub store: PathBuf,
    /// how many of the newest generations to keep
    #[argh(option, arg_name = "N")]
    pub keep: usize,
    /// say what would be removed, and remove nothing
    #[argh(switch)]
    pub dry_run: bool,
}

/// Copy what clones need of a store to a folder, such as that of a USB stick: only what is new, whole at every moment, read back and checked.
/// What only older generations need is removed there.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "export",
    note = "The folder is a store for clones, which take it by path. Its other files are left alone. FAT holds no file of 4 GiB or more."
)]
pub struct Export {
    /// folder of the store
    #[argh(positional)]
    pub store: PathBuf,
    /// folder to copy to; made where it is missing
    #[argh(option, arg_name = "DIR")]
    pub to: PathBuf,
    /// how many of the newest generations to copy (default: 1)
    #[argh(option, default = "1", arg_name = "N")]
    pub generations: usize,
    /// read what was copied before, too, and copy anew what has rotted
    #[argh(switch)]
    pub verify: bool,
}

/// Make kernel, initramfs and an iPXE script that turn a bare machine into a clone when it boots over the network. Prints the lines for
/// its boot loader.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "netboot",
    note = "The machine's disk is laid out if it is empty; one that holds data is refused. The initramfs has this machine's /etc/reclone in it: whoever can fetch it can read a token there."
)]
pub struct Netboot {
    /// folder to write to; made where it is missing
    #[argh(positional)]
    pub dir: PathBuf,
    /// disk of the machines, such as /dev/nvme0n1, /dev/sda or a link in /dev/disk/by-path
    #[argh(option, arg_name = "DISK")]
    pub disk: String,
    /// folder of the store (default: /srv/model)
    #[argh(option, default = "PathBuf::from(\"/srv/model\")", arg_name = "DIR")]
    pub store: PathBuf,
    /// where clones will find the store (default: http, this machine's address, and the port)
    #[argh(option)]
    pub url: Option<String>,
    /// port of the server (default: 8080)
    #[argh(option, default = "8080", arg_name = "N")]
    pub port: u16,
    /// release of the kernel (default: the running one)
    #[argh(option, arg_name = "RELEASE")]
    pub kernel: Option<String>,
}

/// Serve a store over HTTP or HTTPS until SIGINT or SIGTERM. Prints `listening on URL` once it does.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "serve")]
pub struct Serve {
    /// folder of the store
    #[argh(positional)]
    pub store: PathBuf,
    /// address and port; port 0 takes a free one (default: 127.0.0.1:8080)
    #[argh(
        option,
        default = "SocketAddr::from(([127, 0, 0, 1], 8080))",
        arg_name = "ADDR:PORT"
    )]
    pub listen: SocketAddr,
    /// PEM file of the certificate chain, for HTTPS
    #[argh(option, arg_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's key
    #[argh(option, arg_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// first line of this file is the token that clones must send
    #[argh(option, arg_name = "FILE")]
    pub token_file: Option<PathBuf>,
}
