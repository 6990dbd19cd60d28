//! Boots from a disk as a cut left it, the way the next boot would, and holds it against what was promised.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Output};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use reclone::state::State;

use super::boot_loader::{Loader, look_at_root, look_without_journal};
use super::plain::Kind;
use super::replayed::{Known, read_all};
use super::steps::{
    After, BEFORE, DAMAGED, DISK, DRIFT, DRIFT_CONTENT, Drift, FIRST_POLICY, GOES_ON, NEWEST, OWN,
    OWN_TEXT, RESTORED, ROOT, SEEDED, STEPS, STORES, unmount,
};
use super::stores::{Stores, Tree, seen};
use super::write_log::Epoch;

const NEWEST_AT: &str = "/newest";
/// Where a session is in memory that has no place on the disk.
const SESSION: &str = "/run/reclone/session";

/// What the next boot of a disk is held against.
pub struct Promise<'a> {
    before: After,
    after: After,
    /// The machine's id, where it was told one.
    id: &'a str,
    /// How many steps were done.
    done: usize,
}

impl<'a> Promise<'a> {
    /// What was promised when this epoch ended: what the steps that were done had brought about, or the one after them.
    pub fn at(epoch: &'a Epoch) -> Promise<'a> {
        let before = epoch
            .done
            .checked_sub(1)
            .map_or(BEFORE, |last| STEPS[last].1);
        Promise {
            before,
            after: STEPS.get(epoch.done).map_or(before, |next| next.1),
            id: &epoch.id,
            done: epoch.done,
        }
    }

    fn damaged(&self) -> bool {
        self.before.damaged || self.after.damaged
    }

    /// What the boot loader starts.
    pub fn starts(&self) -> [&'static [u64]; 2] {
        [self.before.starts, self.after.starts]
    }

    /// Whether that is changing.
    pub fn is_in_loader(&self) -> bool {
        self.before.starts != self.after.starts
    }

    /// In the middle of a step that changes that, both are right.
    fn drift(&self) -> Drift {
        match self.before.drift == self.after.drift {
            true => self.before.drift,
            false => Drift::May,
        }
    }
}

/// A disk as a cut left it.
pub struct Disk<'a> {
    /// All of it.
    pub file: &'a File,
    /// Its root partition.
    pub device: &'a str,
    /// What it is.
    pub kind: &'a Kind,
}

/// Mounts the disk, boots from it with no store in reach, then brings it to the newest generation and looks at every path of
/// that. What is `known` to be right is not booted again, unless it is a `sample`. What the boot loader finds is looked at in samples,
/// too, and always while it changes. Gives whether it was booted. What is wrong is the inner error; after an outer one the disk may
/// still be in use.
pub fn check(
    disk: &Disk,
    promise: &Promise,
    stores: &Stores,
    known: &Known,
    sample: bool,
) -> io::Result<Result<bool, String>> {
    let looks = sample || promise.is_in_loader();
    if looks && let Err(wrong) = look_without_journal(disk, promise.starts(), stores)? {
        return Ok(Err(wrong));
    }
    let (name, options) = (Some(disk.kind.kind), disk.kind.for_next_boot());
    // Or what is read would be written to, too.
    let flags = MsFlags::MS_NOATIME;
    if let Err(error) = mount(Some(disk.device), ROOT, name, flags, Some(&*options)) {
        return Ok(Err(format!("it can not be mounted: {error}")));
    }
    let looks = looks && disk.kind.loader == Loader::Grub;
    // A tree that can not be read to its end is a violation like any other.
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let root = Path::new(ROOT);
        let state = read_all(root).map_err(|error| format!("it can not be read: {error}"))?;
        let state = (promise.done, state);
        let is_known = known.has(&state) && !sample;
        let pool = match is_known {
            true => None,
            false => Some(next_boot(promise, stores)?),
        };
        if looks {
            let moved = pool.as_deref().and_then(|pool| Path::new(pool).parent());
            look_at_root(moved.unwrap_or(root), promise.starts(), stores)?;
        }
        if let Some(pool) = &pool {
            catches_up(pool, promise, stores)?;
            is_newest(pool, stores)?;
            known.add(state);
        }
        Ok(!is_known)
    }));
    leave()?;
    Ok(checked.unwrap_or_else(|_| Err("the tree can not be read".to_owned())))
}

/// Boots what is there. Gives the pool's folder.
fn next_boot(promise: &Promise, stores: &Stores) -> Result<String, String> {
    let output = agent(&["boot", "--root", ROOT])?;
    if !output.status.success() {
        return match promise.before.current {
            0 => Ok(format!("{ROOT}/reclone")),
            _ => Err(format!("it does not boot: {}", said(&output))),
        };
    }
    let pool = format!("{DISK}/reclone");
    let state = state(&pool)?;
    let current = state.current.map_or(0, |generation| generation.number);
    if current != promise.before.current && current != promise.after.current {
        return Err(format!("generation {current} is current"));
    }
    if state.serial < stores.serial(promise.before.newest) {
        return Err(format!("the serial went back to {}", state.serial));
    }
    let damaged = stores.damaged.filter(|_| promise.damaged());
    shows(stores.tree(current), promise.drift(), damaged)?;
    let own = |file: &str| fs::read_to_string(format!("{ROOT}/etc/{file}")).unwrap_or_default();
    let name = own("hostname");
    let names = [promise.before.names, promise.after.names].concat();
    if !names
        .iter()
        .any(|wanted| name.strip_suffix('\n') == Some(wanted))
    {
        return Err(format!("the machine's name is {name:?}"));
    }
    let kept = fs::read_to_string(format!("{ROOT}/{OWN}/file")).unwrap_or_default();
    if current >= FIRST_POLICY && kept != OWN_TEXT {
        return Err(format!("what was kept is {kept:?}"));
    }
    for session in promise.before.goes_on {
        let path = format!("{ROOT}/{GOES_ON}/{session}");
        let found = fs::read_to_string(&path).unwrap_or_default();
        if current >= FIRST_POLICY && found != *session {
            return Err(format!("{path} is {found:?}"));
        }
    }
    if let Some(generation) = promise.before.restored {
        let restored = seen(&Path::new(DISK).join(RESTORED));
        same(stores.tree(generation), &restored, None)
            .map_err(|wrong| format!("restored: {wrong}"))?;
    }
    let id = own("machine-id");
    if id.len() != 33 || !promise.id.is_empty() && id.trim() != promise.id {
        return Err(format!("the machine's id is {id:?}"));
    }
    Ok(pool)
}

/// The root is this generation, with what a thawed session wrote beside it.
fn shows(wanted: &Tree, drift: Drift, damaged: Option<u64>) -> Result<(), String> {
    let (mut wanted, mut found) = (wanted.clone(), seen(Path::new(ROOT)));
    if drift != Drift::Gone {
        // With its folder, which has another time by it.
        for path in Path::new(DRIFT).ancestors().take(2) {
            wanted.remove(path);
            found.remove(path);
        }
    }
    let content = fs::read(format!("{ROOT}/{DRIFT}")).unwrap_or_default();
    if drift == Drift::Stays && content != DRIFT_CONTENT {
        let length = content.len();
        return Err(format!("what a thawed session wrote has {length} bytes"));
    }
    same(&wanted, &found, damaged)
}

/// The next sync succeeds, and after it every object is whole, without anything that had to be mended.
fn catches_up(pool: &str, promise: &Promise, stores: &Stores) -> Result<(), String> {
    let (store, key) = (format!("{STORES}/{NEWEST}"), format!("{STORES}/key.pub"));
    let from = ["--pool", pool, "--store", &store, "--key", &key];
    // A reset begins with a sync, but wants a pool.
    let verbs = match Path::new(pool).exists() {
        true => &["reset"][..],
        false => &["sync", "reset"],
    };
    for verb in verbs {
        let output = agent(&[&[*verb], &from[..]].concat())?;
        let mended = *verb == "reset"
            && !promise.damaged()
            && !said(&output).contains(" whole, 0 were mended");
        if !output.status.success() || mended {
            return Err(format!("{verb}: {}", said(&output)));
        }
    }
    let state = state(pool)?;
    if state.current.map(|it| it.number) != Some(NEWEST) || state.serial != stores.serial(NEWEST) {
        return Err(format!(
            "it came to {:?}, serial {}",
            state.current, state.serial
        ));
    }
    Ok(())
}

/// The newest generation has every path of its model.
fn is_newest(pool: &str, stores: &Stores) -> Result<(), String> {
    let output = agent(&["assemble", "--pool", pool, "--session", "none", NEWEST_AT])?;
    if !output.status.success() {
        return Err(format!("assemble: {}", said(&output)));
    }
    same(stores.tree(NEWEST), &seen(Path::new(NEWEST_AT)), None)
}

fn agent(arguments: &[&str]) -> Result<Output, String> {
    Command::new("/reclone")
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn state(pool: &str) -> Result<State, String> {
    let text = fs::read_to_string(format!("{pool}/state")).map_err(|error| error.to_string())?;
    State::parse(&text).map_err(|error| error.to_string())
}

/// Whether a tree is what it should be; [`DAMAGED`] may have the content `damaged` instead.
fn same(wanted: &Tree, found: &Tree, damaged: Option<u64>) -> Result<(), String> {
    for path in wanted.keys().chain(found.keys()) {
        let (left, mut right) = (wanted.get(path), found.get(path).cloned());
        if let (Some(left), Some(right)) = (left, &mut right)
            && path == Path::new(DAMAGED)
            && damaged.is_some()
            && right.content == damaged
        {
            right.content = left.content;
        }
        if left != right.as_ref() {
            let path = path.display();
            return Err(format!("{path} is {right:?} instead of {left:?}"));
        }
    }
    Ok(())
}

/// Unmounts everything that the boot mounted, and the disk; all but the shutdown program, which is the next boot's, too, as it is that of a
/// second try.
fn leave() -> io::Result<()> {
    let inside = [OWN, SEEDED].map(|folder| format!("{ROOT}/{folder}"));
    let [own, seeded] = [&*inside[0], &*inside[1]];
    for place in [NEWEST_AT, own, seeded, ROOT, SESSION, DISK] {
        loop {
            match unmount(place) {
                Ok(()) => {}
                Err(Errno::EINVAL | Errno::ENOENT) => break,
                Err(error) => return Err(io::Error::other(format!("{place}: {error}"))),
            }
        }
    }
    for folder in ["/run/reclone", "/run/systemd"] {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
                return Err(io::Error::other(format!("{folder}: {error}; {mounts}")));
            }
            _ => {}
        }
    }
    Ok(())
}
