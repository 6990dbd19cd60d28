//! What a pool holds, for people and for scripts.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::error::Result;
use crate::firmware::{Order, Variables};
use crate::loader::bootable::{self, Bootable};
use crate::pool::Pool;
use crate::stage::ready_generation;
use crate::state::{Generation, State};
use crate::{loader, thaw, trial};

/// The status as one JSON object: `null` where there is nothing to say, times in seconds since 1970. `checked` is what was found where each
/// initramfs was looked into.
pub fn json(pool: &Pool, checked: Option<&[Bootable]>) -> Result<Value> {
    let state = pool.state()?;
    let number = |generation: Option<Generation>| generation.map(|it| it.number);
    Ok(json!({
        "pool": pool.root().to_string_lossy(),
        "model": state.model,
        "serial": state.serial,
        "current": number(state.current),
        "previous": number(state.previous),
        "refused": state.refused,
        "trial": trial::boots_begun(&state),
        "entries": state.current.map(|it| it.entries),
        "manifest": state.current.map(|it| it.manifest.to_string()),
        "store": state.store,
        "last_sync": pool.last_sync().and_then(since_epoch).map(|time| time.as_secs()),
        "staging": pool.staging().exists(),
        "staged": ready_generation(pool).map(|(number, _)| number),
        "thawed": thaw::boots_left(pool),
        "free": pool.free()?,
        "boot_loader": loader::look().map(|(title, entries)| loader::json(title, &entries)),
        "firmware": order().map(|it| it.json()),
        "initramfs": checked.map(bootable::json),
    }))
}

/// The status in a few lines.
pub fn text(pool: &Pool, checked: Option<&[Bootable]>, now: SystemTime) -> Result<String> {
    let state = pool.state()?;
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{:<12}{value}", format!("{key}:"));
    };
    line("pool", pool.root().display().to_string());
    line(
        "model",
        state.model.clone().unwrap_or_else(|| "none yet".into()),
    );
    line("current", describe(state.current));
    if let Some(begun) = trial::boots_begun(&state) {
        line(
            "on trial",
            format!("boots begun without a good end: {begun}"),
        );
    }
    line("previous", describe(state.previous));
    if let Some(refused) = state.refused {
        line("refused", format!("generation {refused}, rolled back here"));
    }
    line(
        "store",
        state.store.clone().unwrap_or_else(|| "none yet".into()),
    );
    line("last sync", last_sync(pool, &state, now));
    if let Some((number, _)) = ready_generation(pool) {
        line(
            "staged",
            format!("generation {number}, for the next boot or sync"),
        );
    } else if pool.staging().exists() {
        line(
            "staging",
            "an interrupted sync, which the next one takes over".into(),
        );
    }
    if let Some(boots) = thaw::boots_left(pool) {
        line("thawed", format!("boots to come: {boots}"));
    }
    if let Some((title, entries)) = loader::look() {
        line(
            "loader",
            format!("{title} starts {}", loader::words(&entries)),
        );
    }
    if let Some(order) = order() {
        line("firmware", order.words());
    }
    for it in checked.unwrap_or_default() {
        line("initramfs", bootable::words(it));
    }
    line("free", format!("{} MiB", pool.free()? >> 20));
    Ok(text)
}

fn order() -> Option<Order> {
    Variables::find()?.order()
}

fn describe(generation: Option<Generation>) -> String {
    match generation {
        Some(it) => format!("generation {} ({} entries)", it.number, it.entries),
        None => "none".into(),
    }
}

fn last_sync(pool: &Pool, state: &State, now: SystemTime) -> String {
    match pool.last_sync() {
        Some(time) => match now.duration_since(time) {
            Ok(ago) => format!("{} ago (serial {})", span(ago), state.serial),
            Err(_) => "in the future: the clock was set back".into(),
        },
        None => "never".into(),
    }
}

/// A time span in its largest unit.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn since_epoch(time: SystemTime) -> Option<Duration> {
    time.duration_since(UNIX_EPOCH).ok()
}
