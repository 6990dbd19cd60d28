//! The verbs `sync` and `fetch`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::configuration::read_config;
use super::session;
use crate::error::{Error, Result};
use crate::fetch::Watcher;
use crate::follow::Follow;
use crate::pool::Pool;
use crate::preview::{PreviewOptions, preview};
use crate::store::Limited;
use crate::sync::{Goal, Outcome, Report, SyncOptions, mib, sync};
use crate::sys::mount::in_initramfs;
use crate::{cli, network, run};

/// How long a sync by hand waits for a network.
const NETWORK: Duration = Duration::from_secs(60);

/// Brings the pool to the store's newest generation, or says what that would bring.
pub fn run_sync(options: &cli::Sync) -> Result<()> {
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
    config.key = options.key.as_deref().map(run::key).or(config.key);
    config.ca = options.ca.clone().or(config.ca);
    config.token_file = options.token_file.clone().or(config.token_file);
    if options.diff && !options.dry_run {
        return Err(Error::Usage("--diff goes with --dry-run".into()));
    }
    let deadline = deadline(options.timeout);
    let pool = run::pool_path(options.pool.as_ref(), &config);
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
    if let Some((value, words)) = session::refusal(&pool) {
        run::say(options.json, &value, &words);
        return Ok(());
    }
    let watcher = run::watcher();
    let report = with_network(&follow, deadline, || {
        let plain_root = options.plain_root.as_deref();
        sync_from(&pool, &follow, Goal::Commit, plain_root, &watcher)
    })?;
    run::say(options.json, &value(&report), &describe(&report));
    Ok(())
}

/// A time that no clock reaches is no limit.
pub fn deadline(seconds: Option<u64>) -> Option<Instant> {
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

/// Stages it.
pub fn run_fetch(options: &cli::Fetch) -> Result<()> {
    let pool = run::open_pool(options.pool.as_ref())?;
    let deadline = deadline(options.timeout);
    let (store, key) = (options.store.as_ref(), options.key.as_ref());
    let mut follow = run::follow(&pool, store, key, deadline)?;
    if let Some(rate) = options.limit_rate {
        follow.store = Box::new(Limited::new(follow.store, rate));
    }
    let watcher = run::watcher();
    let report = with_network(&follow, deadline, || {
        sync_from(&pool, &follow, Goal::Stage, None, &watcher)
    })?;
    run::say(options.json, &value(&report), &describe(&report));
    Ok(())
}

/// Does `work` with the network up. In the shell of an initramfs nobody else raises it; elsewhere it is the system's.
pub fn with_network<T>(
    follow: &Follow,
    deadline: Option<Instant>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let need = follow.need.filter(|_| in_initramfs());
    let end = Instant::now() + NETWORK;
    let end = deadline.map_or(end, |deadline| end.min(deadline));
    network::with(need, &network::Places::default(), end, work)
}

/// Syncs the pool from the store that is followed.
pub fn sync_from(
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

/// What a sync did, as one JSON object.
pub fn value(report: &Report) -> Value {
    let outcome = match report.outcome {
        Outcome::Unchanged => "unchanged",
        Outcome::Refused => "refused",
        Outcome::Staged => "staged",
        Outcome::Committed => "committed",
    };
    json!({
        "outcome": outcome,
        "generation": report.generation,
        "objects": report.figures.objects,
        "content": report.figures.content,
        "requests": report.traffic.requests,
        "received": report.traffic.bytes,
    })
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
