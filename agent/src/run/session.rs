//! The verbs `session`, `thaw` and `freeze`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use reclone_format::TreePath;
use serde_json::{Value, json};

use super::restore::{Told, absolute, tree_path};
use crate::cli::{self, SessionVerb};
use crate::compare::{self, compare};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::pool::Pool;
use crate::running::{self, Running};
use crate::session::{self, Session, Size};
use crate::status::span;
use crate::sync::mib;
use crate::tree::Tree;
use crate::view::View;
use crate::{keep, policy, restore, run, thaw};

/// Does what a verb about sessions says.
pub fn run_session(options: &cli::Session) -> Result<()> {
    match &options.verb {
        SessionVerb::List(options) => list(options),
        SessionVerb::Diff(options) => diff(options),
        SessionVerb::Recover(options) => recover(options),
        SessionVerb::Drop(options) => drop(options),
    }
}

fn list(options: &cli::SessionList) -> Result<()> {
    let pool = run::open_pool(options.pool.as_ref())?;
    let sessions = session::ended(&pool)?;
    let running = running::sessions(&pool);
    let saved = session::saved(&pool)?;
    if options.json {
        let ended: Vec<Value> = sessions.iter().map(value).collect();
        let running: Vec<Value> = running.iter().map(value).collect();
        let saved: Vec<Value> = saved.iter().map(saved_value).collect();
        println!(
            "{}",
            json!({ "ended": ended, "running": running, "saved": saved })
        );
        return Ok(());
    }
    let now = SystemTime::now();
    for session in &sessions {
        println!("{}", line(session, now));
    }
    for session in running {
        let over = session.generation().map_or(0, |it| it.number);
        println!("running: over generation {over}, as {}", session.name());
    }
    for saved in &saved {
        let (size, at) = (saved.saved_size(), saved.root().display());
        println!("saved: {} files, {}, in {at}", size.files, mib(size.bytes));
    }
    Ok(())
}

fn saved_value(saved: &Session) -> Value {
    let Size { files, bytes } = saved.saved_size();
    let at = saved.root().to_string_lossy();
    json!({ "session": saved.name(), "files": files, "bytes": bytes, "at": at })
}

fn value(session: &Session) -> Value {
    let seconds = |time: Option<SystemTime>| {
        let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        time.map(|time| time.as_secs())
    };
    let (began, ended) = session.times();
    let size = session.size();
    json!({
        "session": session.name(),
        "generation": session.generation().map(|it| it.number),
        "began": seconds(began),
        "ended": seconds(ended),
        "files": size.map(|it| it.files),
        "bytes": size.map(|it| it.bytes),
    })
}

fn line(session: &Session, now: SystemTime) -> String {
    let mut line = format!("{}:", session.name());
    if let Some(generation) = session.generation() {
        let _ = write!(line, " over generation {},", generation.number);
    }
    let ago = |time: SystemTime| now.duration_since(time).ok().map(span);
    if let Some(ago) = session.times().1.and_then(ago) {
        let _ = write!(line, " ended {ago} ago,");
    }
    let _ = match session.size() {
        Some(size) => write!(line, " {} files, {}", size.files, mib(size.bytes)),
        None => write!(line, " not counted yet"),
    };
    line
}

fn diff(options: &cli::SessionDiff) -> Result<()> {
    let pool = run::open_pool(options.pool.as_ref())?;
    let session = session::find_ended(&pool, options.session.as_deref())?;
    let view = View::open(&pool, &session)?;
    let Some(generation) = view.generation else {
        return Err(Error::Unknown {
            what: format!("generation of session {} any more", session.name()),
            pool: pool.root().into(),
        });
    };
    let tree = Tree::of_generation(&pool, generation.number, &TreePath::ROOT)?;
    let tree = tree.ok_or_else(|| Error::NoGeneration(pool.root().into()))?;
    let place = Place::open(&view.top()).and_then(|place| place.inside());
    let place = place.map_err(Error::system("can not open", &view.top()))?;
    let policy = policy::last(&pool);
    let running = Running::new(generation, session, view.top());
    let options_of = compare::Options {
        checksum: false,
        running: Some(&running),
        overlay: true,
        is_spared: &|path| keep::is_own(&policy, path),
        spared_folder: None,
    };
    let differences = compare(&tree, &place, &options_of)?;
    let mut told = Told::new(generation, options.json);
    told.add(&TreePath::ROOT, &differences, true);
    told.finish()
}

fn recover(options: &cli::SessionRecover) -> Result<()> {
    if options.paths.is_empty() {
        return Err(Error::Usage(
            "No path is named: `reclone session recover PATH…`".into(),
        ));
    }
    let pool = run::open_pool(options.pool.as_ref())?;
    let session = session::find_ended(&pool, options.session.as_deref())?;
    let to = options.to.as_deref().map(absolute).transpose()?;
    let view = View::open(&pool, &session)?;
    let mut recovered = Vec::new();
    let outcome = options.paths.iter().try_for_each(|path| {
        let path = tree_path(path)?;
        let tree = Tree::of_folder(&view.top(), &path)?;
        let tree = tree.filter(|_| !path.is_root());
        let tree = tree.ok_or_else(|| Error::Unknown {
            what: format!("{path} in session {}", session.name()),
            pool: pool.root().into(),
        })?;
        let name = path.as_path().file_name().unwrap_or_default();
        let target = match &to {
            Some(folder) => folder.join(name),
            None => Path::new("/").join(path.as_path()),
        };
        restore::put(tree, &target)?;
        let (name, at) = (session.name(), target.display().to_string());
        if !options.json {
            println!("{path} of session {name} is at {at}");
        }
        recovered.push(json!({ "path": path.to_string(), "at": at }));
        Ok(())
    });
    let value = json!({ "session": session.name(), "recovered": recovered });
    run::end(options.json, value, outcome)
}

fn drop(options: &cli::SessionDrop) -> Result<()> {
    let pool = run::open_pool(options.pool.as_ref())?;
    let _lock = pool.lock()?;
    if options.all {
        let count = session::remove_ended(&pool)? + session::remove_saved(&pool)?;
        let words = format!("dropped {count} sessions");
        run::say(options.json, &json!({ "dropped": count }), &words);
        return Ok(());
    }
    if options.sessions.is_empty() {
        return Err(Error::Usage(
            "No session is named: `reclone session drop NUMBER…`, or `--all`".into(),
        ));
    }
    let mut dropped = 0;
    let outcome = options.sessions.iter().try_for_each(|name| {
        let saved = session::saved(&pool)?;
        let saved = saved.into_iter().find(|saved| saved.name() == *name);
        saved
            .map_or_else(|| session::find_ended(&pool, Some(name)), Ok)?
            .remove()?;
        dropped += 1;
        if !options.json {
            println!("dropped session {name}");
        }
        Ok(())
    });
    run::end(options.json, json!({ "dropped": dropped }), outcome)
}

/// Has the session go on.
pub fn run_thaw(options: &cli::Thaw) -> Result<()> {
    if !(1..=1000).contains(&options.boots) {
        return Err(Error::Usage(
            "--boots: a number between 1 and 1000 is needed; `reclone freeze` ends it".into(),
        ));
    }
    let pool = run::open_pool(options.pool.as_ref())?;
    let lock = pool.lock()?;
    let number = thaw::thaw(&pool, &lock, options.boots)?.number;
    let value = json!({ "generation": number, "boots": options.boots });
    let words = format!(
        "what is written stays over the next {}; until then generation {number} stays, too, whatever is published",
        boots(options.boots)
    );
    run::say(options.json, &value, &words);
    Ok(())
}

/// Has it end.
pub fn run_freeze(options: &cli::Freeze) -> Result<()> {
    let pool = run::open_pool(options.pool.as_ref())?;
    let lock = pool.lock()?;
    let thawed = thaw::freeze(&pool, &lock)?;
    let words = match thawed {
        true => "the next boot begins anew",
        false => "this clone was not thawed: the next boot begins anew",
    };
    run::say(options.json, &json!({ "thawed": thawed }), words);
    Ok(())
}

/// Says why there is no sync in a thawed clone; nothing where it is not.
pub fn refusal(pool: &Pool) -> Option<(Value, String)> {
    let left = thaw::boots_left(pool)?;
    let number = pool.state().ok()?.current.map_or(0, |it| it.number);
    let words = format!(
        "generation {number} stays: this clone is thawed for {} more; `reclone freeze` ends that",
        boots(left)
    );
    Some((
        json!({ "outcome": "thawed", "generation": number, "boots": left }),
        words,
    ))
}

fn boots(count: u32) -> String {
    match count {
        1 => "boot".into(),
        count => format!("{count} boots"),
    }
}
