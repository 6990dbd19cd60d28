//! The offline store, such as a USB stick, and the one on the network: which of them a boot follows. The newer one, by the serials in
//! their signed heads; the other one where that can not be asked or fails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{info, warn};
use reclone_format::Head;

use crate::accept::{check_head, read_head};
use crate::boot::catch_up::Outside;
use crate::config::{Config, OfflineStore};
use crate::error::{Error, Result};
use crate::follow::Follow;
use crate::partition;
use crate::pool::make_private_dir;
use crate::store::{HeadAnswer, Kind, StoreError};
use crate::sys::mount;

/// How long a stick may take to show up, from when the boot begins to look for it: the kernel gives a stick a second before it asks
/// it anything, and a slow one takes two or three more.
const LONGEST: Duration = Duration::from_secs(5);
/// File systems that a stick may have.
const FIT: [&str; 6] = ["vfat", "exfat", "ext4", "xfs", "btrfs", "f2fs"];

/// What is to be done with a store; once more with the other one where that fails.
pub type Work<'w> = dyn FnMut(&Follow) -> Result<()> + 'w;

/// Does `work` with the newer of two stores, the network's and the one on the stick, or with the other one where that fails. What is
/// wrong with the stick is a warning. The error is the network's, even where the stick took its place, so that it is asked again
/// later; or the stick's, where there is nothing else to follow.
pub fn with_newer(outside: &Outside, named: &OfflineStore, work: &mut Work) -> Result<()> {
    let shows_up_by = Instant::now() + LONGEST;
    let look = |by| Stick::find(outside, named, by);
    if outside.config.store.is_none() {
        return match look(shows_up_by)? {
            Some(stick) => stick.follow_with(work),
            None => Err(missing(named).into()),
        };
    }
    // Who has something to boot does not wait for what is mostly not there.
    let found = look(match outside.is_first {
        true => shows_up_by,
        false => Instant::now(),
    });
    let is_missing = matches!(found, Ok(None));
    let mut stick = warned(found, named).flatten();
    let asked = with_network(outside, named, &mut stick, work);
    if asked.is_ok() {
        return asked;
    }
    if is_missing {
        stick = warned(look(shows_up_by), named).flatten();
    }
    match stick {
        Some(stick) => drop(warned(stick.follow_with(work), named)),
        None if is_missing => info!("{}", missing(named)),
        None => {}
    }
    asked
}

/// Does `work` with the store on the network, unless the stick has the newer generation, or the same one, which this clone has not. It is
/// taken then, and gone from `stick`.
fn with_network(
    outside: &Outside,
    named: &OfflineStore,
    stick: &mut Option<Stick>,
    work: &mut Work,
) -> Result<()> {
    let has_news = stick.as_ref().is_some_and(|stick| stick.has_news);
    // A first clone would wait an hour for a network that is not there, with all that it needs at hand.
    let patience = match stick {
        Some(_) => outside.time.min(outside.config.timeout),
        None => outside.time,
    };
    outside.online(patience, |network| {
        if !has_news {
            return work(network);
        }
        let theirs = signed_head(&outside.follow(outside.config, patience)?)?.1;
        let ahead = stick.take_if(|stick| is_ahead(&stick.head, &theirs));
        let done = ahead.and_then(|stick| warned(stick.follow_with(work), named));
        match done {
            Some(()) => Ok(()),
            // The time that the stick took is not this one's.
            None => work(&outside.follow(outside.config, outside.time)?),
        }
    })
}

/// Whether the stick is to be taken. It is near, so it is where both have the same. Serials of different models say nothing.
fn is_ahead(stick: &Head, network: &Head) -> bool {
    stick.model == network.model && stick.serial >= network.serial
}

/// What came of the stick, with a warning in place of an error.
fn warned<T>(result: Result<T>, named: &OfflineStore) -> Option<T> {
    let warn = |error: &Error| warn!("the offline store {named} is left alone: {error}");
    result.inspect_err(warn).ok()
}

fn missing(named: &OfflineStore) -> StoreError {
    let what = format!(
        "no offline store of this name showed up in {} s",
        LONGEST.as_secs()
    );
    StoreError::new(Kind::NotFound, named.to_string(), what)
}

/// The head that a store has now, as it is signed and as it reads.
pub fn signed_head(follow: &Follow) -> Result<(Vec<u8>, Head)> {
    let HeadAnswer::Fresh { bytes, .. } = follow.store.head(None)? else {
        let what = "it has nothing new, and was not asked for that";
        return Err(StoreError::new(Kind::Corrupt, &follow.location, what).into());
    };
    let head = read_head(&bytes, &follow.location, &follow.key)?;
    Ok((bytes, head))
}

/// A stick with a store that this clone may follow. It stays mounted until this is dropped.
struct Stick<'a> {
    outside: &'a Outside<'a>,
    config: Config,
    name: String,
    head: Head,
    /// Whether this clone does not have its generation.
    has_news: bool,
    _mounted: Mounted,
}

impl<'a> Stick<'a> {
    /// Mounts it and judges its head as that of any store. None where no such partition shows up until `by`.
    fn find(outside: &'a Outside, named: &OfflineStore, by: Instant) -> Result<Option<Self>> {
        let device = partition::device(&named.device);
        if partition::wait_for(&device, by).is_err() {
            return Ok(None);
        }
        let mounted = Mounted::new(&device, outside.places.stick())?;
        let folder = mounted.at.join(&named.folder);
        let config = Config {
            store: Some(folder.display().to_string()),
            token_file: None,
            ..outside.config.clone()
        };
        let (bytes, head) = signed_head(&outside.follow(&config, outside.time)?)?;
        let state = outside.pool.state()?;
        check_head(&head, &bytes, &state, config.model.as_deref()).map_err(|error| match error {
            Error::Older { found, known } => Error::Usage(format!(
                "it has serial {found}, and this clone has seen {known}; `reclone-model export` brings it up to date"
            )),
            error => error,
        })?;
        let (generation, serial) = (head.generation, head.serial);
        info!("the offline store {named} has generation {generation}, serial {serial}");
        Ok(Some(Self {
            has_news: state.serial < serial || state.model.as_ref() != Some(&head.model),
            outside,
            config,
            name: named.to_string(),
            head,
            _mounted: mounted,
        }))
    }

    /// Does `work` with it. It has the same time as the network's store had, for itself.
    fn follow_with(self, work: &mut Work) -> Result<()> {
        info!("following the offline store {}", self.name);
        let follow = self.outside.follow(&self.config, self.outside.time)?;
        // Where it is mounted is not what it is called, and may be another one's place in the next boot.
        work(&Follow {
            location: self.name.clone(),
            ..follow
        })
    }
}

/// A stick's file system, until it is dropped.
struct Mounted {
    at: PathBuf,
}

impl Mounted {
    fn new(device: &Path, at: PathBuf) -> Result<Self> {
        let failed = |error: io::Error| Error::system("can not mount", device)(error);
        let kind = partition::kind_of(device, &FIT).map_err(failed)?;
        make_private_dir(&at)?;
        mount::stick(device, &at, kind).map_err(|error| failed(error.into()))?;
        Ok(Self { at })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // One that was pulled out may be busy with what is not there any more.
        if mount::unmount(&self.at).is_err() {
            let _ = mount::detach(&self.at);
        }
        let _ = fs::remove_dir(&self.at);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use reclone_format::ManifestRef;
    use reclone_format::object_id_of;

    fn head(model: &str, serial: u64) -> Head {
        Head {
            model: model.into(),
            serial,
            generation: 1,
            created: 0,
            manifest: ManifestRef {
                id: object_id_of(b""),
                size: 0,
                entries: 0,
            },
            content: 0,
            packs: Vec::new(),
            deltas: Vec::new(),
        }
    }

    #[test]
    fn the_stick_is_taken_where_it_is_not_behind_the_network() {
        let cases = [
            ("newer", head("lab", 3), head("lab", 2), true),
            ("the same", head("lab", 3), head("lab", 3), true),
            ("older", head("lab", 2), head("lab", 3), false),
            ("another model's", head("lab", 3), head("hall", 2), false),
        ];
        for (what, stick, network, expected) in cases {
            assert_eq!(is_ahead(&stick, &network), expected, "{what}");
        }
    }
}
