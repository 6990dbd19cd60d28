//! Verb by verb: options and configuration become calls. Results go to standard output, everything else to the log.

mod configuration;
mod enroll;
mod restore;
mod session;
mod unenroll;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use log::info;
use reclone_format::PublicKey;
use reclone_format::policy::BUILT_IN;
use serde_json::json;

use crate::cli::{self, Verb};
use crate::config::{Config, Key};
use crate::error::{Error, Result};
use crate::fetch::Watcher;
use crate::follow::Follow;
use crate::good::Good;
use crate::network;
use crate::pool::Pool;
use crate::preview::{PreviewOptions, preview};
use crate::progress::TerminalProgress;
use crate::session::{Cap, Session, remove_ended};
use crate::store::Limited;
use crate::sync::{Goal, Outcome, Report, SyncOptions, mib, sync};
use crate::sys::mount::in_initramfs;
use crate::{assemble, boot, explain, good, keep, prune, repair, rollback, status, thaw, verify};

use configuration::read_config;

/// Where a clone that runs finds its pool.
pub const RUNNING_POOL: &str = "/run/reclone/pool";

/// Where an initramfs mounts the root partition: dracut's, Debian's.
const INITRAMFS_ROOTS: [&str; 2] = ["/sysroot", "/root"];

/// How long a sync by hand waits for a network.
const NETWORK: Duration = Duration::from_secs(60);

/// Does what a verb says.
pub fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Enroll(options) => enroll::run_enroll(&options),
        Verb::Unenroll(options) => unenroll::run_unenroll(&options),
        Verb::Sync(options) => run_sync(&options),
        Verb::Fetch(options) => run_fetch(&options),
        Verb::Assemble(options) => run_assemble(&options),
        Verb::Boot(options) => boot::boot(&options.root),
        Verb::Status(options) => run_status(&options),
        Verb::Explain(options) => run_explain(&options),
        Verb::Diff(options) => restore::run_diff(&options),
        Verb::Restore(options) => restore::run_restore(&options),
        Verb::Session(options) => session::run_session(&options),
        Verb::Thaw(options) => session::run_thaw(&options),
        Verb::Freeze(options) => session::run_freeze(&options),
        Verb::Verify(options) => run_verify(&options),
        Verb::Good(options) => run_good(&options),
        Verb::Rollback(options) => run_rollback(&options),
        Verb::Reset(options) => run_reset(&options),
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

fn watcher() -> Box<dyn Watcher> {
    match std::io::stderr().is_terminal() {
        true => Box::new(TerminalProgress::new(Instant::now())),
        false => Box::new(()),
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

fn run_sync(options: &cli::Sync) -> Result<()> {
    let mut config = read_config();
    let text = |given: &Option<String>, known: &mut Option<String>| {
        if given.is_some() {
            known.clone_from(given);
        }
    };
    text(&options.store, &mut config.store);
    text(&options.model, &mut config.model);
    text(&options.pin, &mut config.pin);
    text(&options.proxy, &mut config.proxy);
    config.key = options.key.as_deref().map(key).or(config.key);
    config.ca = options.ca.clone().or(config.ca);
    config.token_file = options.token_file.clone().or(config.token_file);
    if (options.diff || options.json) && !options.dry_run {
        return Err(Error::Usage("--diff and --json go with --dry-run".into()));
    }
    let deadline = deadline(options.timeout);
    let pool = pool_path(options.pool.as_ref(), &config);
    if config.store.is_none() {
        config.store = Pool::at(&pool).state()?.store;
    }
    let follow = Follow::new(&config, deadline, &pool)?;
    if options.dry_run {
        return with_network(&follow, deadline, || {
            run_preview(&Pool::at(&pool), &follow, options)
        });
    }
    let pool = Pool::create(&pool)?;
    if let Some(refusal) = session::refusal(&pool) {
        println!("{refusal}");
        return Ok(());
    }
    let watcher = watcher();
    let report = with_network(&follow, deadline, || {
        let plain_root = options.plain_root.as_deref();
        sync_from(&pool, &follow, Goal::Commit, plain_root, &*watcher)
    })?;
    println!("{}", describe(&report));
    Ok(())
}

/// A time that no clock reaches is no limit.
fn deadline(seconds: Option<u64>) -> Option<Instant> {
    seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)))
}

fn run_preview(pool: &Pool, follow: &Follow, options: &cli::Sync) -> Result<()> {
    let look = PreviewOptions {
        location: &follow.location,
        key: &follow.key,
        model: follow.model.as_deref(),
        paths: options.diff,
    };
    let preview = preview(pool, &*follow.store, &look)?;
    match options.json {
        true => println!("{}", preview.json()),
        false => print!("{}", preview.text()),
    }
    Ok(())
}

fn run_fetch(options: &cli::Fetch) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let deadline = deadline(options.timeout);
    let (store, key) = (options.store.as_ref(), options.key.as_ref());
    let mut follow = follow(&pool, store, key, deadline)?;
    if let Some(rate) = options.limit_rate {
        follow.store = Box::new(Limited::new(follow.store, rate));
    }
    let watcher = watcher();
    let report = with_network(&follow, deadline, || {
        sync_from(&pool, &follow, Goal::Stage, None, &*watcher)
    })?;
    println!("{}", describe(&report));
    Ok(())
}

/// Does `work` with the network up. In the shell of an initramfs nobody else raises it; elsewhere it is the system's.
fn with_network<T>(
    follow: &Follow,
    deadline: Option<Instant>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let need = follow.need.filter(|_| in_initramfs());
    let end = Instant::now() + NETWORK;
    let end = deadline.map_or(end, |deadline| end.min(deadline));
    network::with(need, &network::Places::default(), end, work)
}

fn sync_from(
    pool: &Pool,
    follow: &Follow,
    goal: Goal,
    plain_root: Option<&Path>,
    watcher: &dyn Watcher,
) -> Result<Report> {
    let options = SyncOptions {
        location: &follow.location,
        key: &follow.key,
        model: follow.model.as_deref(),
        goal,
        plain_root,
        watcher,
    };
    sync(pool, &*follow.store, &options)
}

/// One line on what a sync did.
pub fn describe(report: &Report) -> String {
    let Report {
        generation,
        figures,
        traffic,
        ..
    } = report;
    let (objects, content) = (figures.objects, mib(figures.content));
    let requests = match traffic.requests {
        1 => "1 request".to_owned(),
        count => format!("{count} requests"),
    };
    let came = format!("{requests}, {} received", mib(traffic.bytes));
    match report.outcome {
        Outcome::Unchanged => {
            format!("generation {generation} is current, nothing newer ({requests})")
        }
        Outcome::Refused => format!(
            "generation {generation} stays: the store's newest one was rolled back here ({requests})"
        ),
        Outcome::Staged => {
            format!("generation {generation} is staged: {objects} objects, {content} ({came})")
        }
        Outcome::Committed => {
            format!("generation {generation} is current: {objects} objects, {content} ({came})")
        }
    }
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

fn run_status(options: &cli::Status) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    match options.json {
        true => println!("{}", status::json(&pool)?),
        false => print!("{}", status::text(&pool, SystemTime::now())?),
    }
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

fn run_verify(options: &cli::Verify) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let watcher = watcher();
    let lock = pool.lock()?;
    if options.repair {
        // Without damage there is no need for a store.
        let damage = verify::verify(&pool, &*watcher)?;
        if damage.count() > 0 {
            report_damage(&pool, &damage, options.json);
            let follow = follow(&pool, options.store.as_ref(), options.key.as_ref(), None)?;
            with_network(&follow, None, || {
                repair::mend_all(&pool, &follow, damage, &lock, &*watcher)
            })?;
            if !options.json {
                println!("all damage is mended");
            }
            return Ok(());
        }
    }
    let damage = verify::verify(&pool, &*watcher)?;
    report_damage(&pool, &damage, options.json);
    match damage.count() {
        0 if options.json => {}
        0 => println!("{} objects are whole", damage.checked),
        count => {
            return Err(Error::Unsound {
                path: pool.root().into(),
                count,
            });
        }
    }
    Ok(())
}

fn report_damage(pool: &Pool, damage: &verify::Damage, json: bool) {
    let lines = damage.describe(pool);
    match json {
        true => println!("{}", json!({ "objects": damage.checked, "damage": lines })),
        false => lines.iter().for_each(|line| println!("{line}")),
    }
}

fn run_rollback(options: &cli::Rollback) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let lock = pool.lock()?;
    let generation = rollback::roll_back(&pool, &lock)?;
    println!(
        "generation {} is current again; it is booted the next time",
        generation.number
    );
    Ok(())
}

fn run_good(options: &cli::Good) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let said = match good::good(&pool, options.force)? {
        Good::Proved(generation) => format!("generation {generation} has proved itself"),
        Good::NotOnTrial(generation) => format!("generation {generation} is not on trial"),
    };
    println!("{said}");
    Ok(())
}

/// What `reclone=reset` does at boot. The sync comes first, for a store gives the objects of its newest generation.
fn run_reset(options: &cli::Reset) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    pool.drop_damaged_state()?;
    let follow = follow(&pool, options.store.as_ref(), options.key.as_ref(), None)?;
    let watcher = watcher();
    let damage = with_network(&follow, None, || {
        let report = sync_from(&pool, &follow, Goal::Commit, None, &*watcher)?;
        println!("{}", describe(&report));
        let lock = pool.lock()?;
        if options.forget {
            keep::forget(&pool)?;
        }
        thaw::freeze(&pool, &lock)?;
        keep::end_sessions(&pool)?;
        let ended = remove_ended(&pool)?;
        info!("{ended} sessions are dropped");
        let damage = verify::verify(&pool, &*watcher)?;
        repair::mend_all(&pool, &follow, damage, &lock, &*watcher)
    })?;
    println!(
        "{} objects are whole, {} were mended",
        damage.checked,
        damage.count()
    );
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
    println!(
        "removed {} generations, {} objects ({}), {} sessions",
        pruned.generations,
        pruned.objects,
        mib(pruned.bytes),
        pruned.sessions
    );
    Ok(())
}
