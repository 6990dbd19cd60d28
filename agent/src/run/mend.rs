//! The verbs that look at every object: `verify`, `reset`.

use log::info;
use serde_json::json;

use super::sync::{self, sync_from, with_network};
use super::{follow, open_pool, say, watcher};
use crate::cli;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::session::remove_ended;
use crate::sync::Goal;
use crate::{keep, repair, thaw, verify};

pub fn run_verify(options: &cli::Verify) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    let watcher = watcher();
    let lock = pool.lock()?;
    if options.repair {
        // Without damage there is no need for a store.
        let damage = verify::verify(&pool, &watcher)?;
        if damage.count() > 0 {
            report_damage(&pool, &damage, options.json);
            let follow = follow(&pool, options.store.as_ref(), options.key.as_ref(), None)?;
            with_network(&follow, None, || {
                repair::mend_all(&pool, &follow, damage, &lock, &watcher)
            })?;
            if !options.json {
                println!("all damage is mended");
            }
            return Ok(());
        }
    }
    let damage = verify::verify(&pool, &watcher)?;
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

/// What `reclone=reset` does at boot. The sync comes first, for a store gives the objects of its newest generation.
pub fn run_reset(options: &cli::Reset) -> Result<()> {
    let pool = open_pool(options.pool.as_ref())?;
    pool.drop_damaged_state()?;
    let follow = follow(&pool, options.store.as_ref(), options.key.as_ref(), None)?;
    let watcher = watcher();
    let (report, damage) = with_network(&follow, None, || {
        let report = sync_from(&pool, &follow, Goal::Commit, None, &watcher)?;
        if !options.json {
            println!("{}", sync::describe(&report));
        }
        let lock = pool.lock()?;
        if options.forget {
            keep::forget(&pool)?;
        }
        thaw::freeze(&pool, &lock)?;
        keep::end_sessions(&pool)?;
        let ended = remove_ended(&pool)?;
        info!("{ended} sessions are dropped");
        let damage = verify::verify(&pool, &watcher)?;
        let damage = repair::mend_all(&pool, &follow, damage, &lock, &watcher)?;
        Ok((report, damage))
    })?;
    let (objects, mended) = (damage.checked, damage.count());
    let value = json!({ "sync": sync::value(&report), "objects": objects, "mended": mended });
    let words = format!("{objects} objects are whole, {mended} were mended");
    say(options.json, &value, &words);
    Ok(())
}
