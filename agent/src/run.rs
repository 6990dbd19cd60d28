//! Verb by verb: options and configuration become calls. Results go to standard output, everything else to the log.

mod configuration;
mod enroll;
mod loader;
mod mend;
mod restore;
mod session;
mod sync;
mod unenroll;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use reclone_format::PublicKey;
use reclone_format::policy::BUILT_IN;
use serde_json::{Value, json};

use crate::cli::{self, Verb};
use crate::config::{Config, Key};
use crate::error::{Error, Result};
use crate::follow::Follow;
use crate::good::Good;
use crate::loader::bootable;
use crate::loader::room::Lookout;
use crate::pool::Pool;
use crate::progress::TerminalProgress;
use crate::prune::Pruned;
use crate::session::{Cap, Session};
use crate::sync::mib;
use crate::sys::mount::in_initramfs;
use crate::{assemble, boot, explain, good, prune, rollback, status};

use configuration::read_config;

/// Where a clone that runs finds its pool.
pub const RUNNING_POOL: &str = "/run/reclone/pool";

/// Where an initramfs mounts the root partition: dracut's, Debian's.
const INITRAMFS_ROOTS: [&str; 2] = ["/sysroot", "/root"];

/// Does what a verb says.
pub fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Enroll(options) => enroll::run_enroll(&options),
        Verb::Unenroll(options) => unenroll::run_unenroll(&options),
        Verb::Sync(options) => sync::run_sync(&options),
        Verb::Fetch(options) => sync::run_fetch(&options),
        Verb::Assemble(options) => run_assemble(&options),
        Verb::Boot(options) => boot::boot(&options.root),
        Verb::Install(options) => run_install(options),
        Verb::Status(options) => run_status(&options),
        Verb::Explain(options) => run_explain(&options),
        Verb::Diff(options) => restore::run_diff(&options),
        Verb::Restore(options) => restore::run_restore(&options),
        Verb::Session(options) => session::run_session(&options),
        Verb::Thaw(options) => session::run_thaw(&options),
        Verb::Freeze(options) => session::run_freeze(&options),
        Verb::Verify(options) => mend::run_verify(&options),
        Verb::Good(options) => run_good(&options),
        Verb::Loader(options) => loader::run_loader(&options),
        Verb::Rollback(options) => run_rollback(&options),
        Verb::Reset(options) => mend::run_reset(&options),
        Verb::Prune(options) => run_prune(&options),
    }
}

/// The pool's folder: the one named, that of the running clone, that on the mounted root of the initramfs, or that of
/// the configuration on this very system.
fn pool_path(named: Option<&PathBuf>, config: &Config) -> PathBuf {
    let at_root = |root: &str| Path::new(root).join(&config.pool);
    let mut candidates = vec![PathBuf::from(RUNNING_POOL)];
    if in_initramfs() {
        candidates.extend(INITRAMFS_ROOTS.map(at_root));
    }
    let own = at_root("/");
    named.cloned().unwrap_or_else(|| {
        candidates
            .into_iter()
            .find(|path| path.is_dir())
            .unwrap_or(own)
    })
}

fn open_pool(named: Option<&PathBuf>) -> Result<Pool> {
    Pool::open(&pool_path(named, &read_config()))
}

fn watcher() -> Lookout {
    Lookout {
        inner: match std::io::stderr().is_terminal() {
            true => Box::new(TerminalProgress::new(Instant::now())),
            false => Box::new(()),
        },
        wanted: || read_config().boot_loader,
    }
}

/// A key on the command line: an existing file, or else the key's own text, in which there may be slashes.
fn key(text: &str) -> Key {
    let is_key = || PublicKey::decode(text).is_ok();
    match Path::new(text).exists() || text.contains('/') && !is_key() {
        true => Key::File(text.into()),
        false => Key::Text(text.to_owned()),
    }
}

/// Prints what a verb did, as a script wants it or in words.
fn say(as_json: bool, value: &Value, words: &str) {
    match as_json {
        true => println!("{value}"),
        false => println!("{words}"),
    }
}

/// Ends a verb that told in words as it went: as JSON, what was done comes at the end, and what kept it from the rest.
fn end(as_json: bool, mut value: Value, outcome: Result<()>) -> Result<()> {
    if let Err(error) = &outcome {
        value["error"] = error.to_string().into();
    }
    if as_json {
        println!("{value}");
    }
    outcome
}

fn run_assemble(options: &cli::Assemble) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let state = pool.state()?;
    let generation = match options.previous {
        true => state
            .previous
            .ok_or_else(|| Error::NoPrevious(pool.root().into())),
        false => state
            .current
            .ok_or_else(|| Error::NoGeneration(pool.root().into())),
    }?;
    let session = match &options.session {
        Some(path) if path.as_os_str() == "none" => None,
        Some(path) => Some(Session::open(path)?),
        None => Some(Session::create(&pool)?),
    };
    if let Some(session) = &session {
        session.begin_over(&generation)?;
    }
    assemble::assemble(&pool, &generation, session.as_ref(), &options.target)?;
    println!(
        "generation {} is mounted at {}",
        generation.number,
        options.target.display()
    );
    Ok(())
}

/// Prints the root partition, for the initramfs to mount.
fn run_install(options: cli::Install) -> Result<()> {
    let mut config = read_config();
    config.install = options.disk.or(config.install);
    config.install_over = options.over.or(config.install_over);
    let root = boot::install(&config, options.dry_run)?;
    println!("{}", root.display());
    Ok(())
}

fn run_status(options: &cli::Status) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let checked = options.check.then(bootable::check);
    let checked = checked.as_deref();
    match options.json {
        true => println!("{}", status::json(&pool, checked)?),
        false => print!("{}", status::text(&pool, checked, SystemTime::now())?),
    }
    bootable::warn_of(checked.unwrap_or_default());
    Ok(())
}

fn run_explain(options: &cli::Explain) -> Result<()> {
    if options.builtin {
        print!("{BUILT_IN}");
        return Ok(());
    }
    let path = options.path.as_ref().ok_or_else(|| {
        Error::Usage("No path is named: `reclone explain PATH`, or --builtin".into())
    })?;
    if !path.is_absolute() {
        return Err(Error::Usage(format!(
            "{}: name a path from the top, such as /etc/hostname",
            path.display()
        )));
    }
    let config = read_config();
    let pool = Pool::open(&pool_path(options.pool.as_ref(), &config))?;
    let is_folder = fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
    let explanation = explain::explain(&pool, restore::tree_path(path)?, is_folder, config.follow)?;
    match options.json {
        true => println!("{}", explanation.json()),
        false => print!("{}", explanation.text()),
    }
    Ok(())
}

/// The store to mend a pool from: the one named, the configured one, or that of the last sync.
fn follow(
    pool: &Pool,
    store: Option<&String>,
    key_text: Option<&String>,
    deadline: Option<Instant>,
) -> Result<Follow> {
    let mut config = read_config();
    config.store = store.cloned().or(config.store).or(pool.state()?.store);
    config.key = key_text.map(|text| key(text)).or(config.key);
    Follow::new(&config, deadline, pool.root())
}

fn run_rollback(options: &cli::Rollback) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let lock = pool.lock()?;
    let generation = rollback::roll_back(&pool, &lock)?;
    let number = generation.number;
    let words = format!("generation {number} is current again; it is booted the next time");
    say(options.json, &json!({ "generation": number }), &words);
    Ok(())
}

fn run_good(options: &cli::Good) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let (generation, outcome, said) = match good::good(&pool, options.force)? {
        Good::Proved(generation) => (generation, "proved", "has proved itself"),
        Good::NotOnTrial(generation) => (generation, "not-on-trial", "is not on trial"),
    };
    let value = json!({ "generation": generation, "outcome": outcome });
    let words = format!("generation {generation} {said}");
    say(options.json, &value, &words);
    Ok(())
}

fn run_prune(options: &cli::Prune) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let lock = pool.lock()?;
    let mut config = read_config();
    config.sessions = options.sessions.unwrap_or(config.sessions);
    if let Some(space) = &options.sessions_space {
        config.set("sessions-space", space).map_err(Error::Usage)?;
    }
    let cap = Cap::of(&config, &pool)?;
    let pruned = prune::prune_within(&pool, &lock, &cap)?;
    let Pruned {
        generations,
        objects,
        bytes,
        sessions,
    } = pruned;
    let value = json!({
        "generations": generations,
        "objects": objects,
        "bytes": bytes,
        "sessions": sessions,
    });
    let size = mib(bytes);
    let words = format!(
        "removed {generations} generations, {objects} objects ({size}), {sessions} sessions"
    );
    say(options.json, &value, &words);
    Ok(())
}
