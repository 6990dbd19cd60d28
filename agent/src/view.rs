//! The tree that an ended session was, read-only: the kernel lays its upper layer over its generation once more, with all that an overlay
//! means by whiteouts, renamed folders and files of which only the attributes were changed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use log::warn;

use crate::assemble;
use crate::error::{Error, Result};
use crate::manifest::has_id;
use crate::pool::{Pool, make_dir};
use crate::session::Session;
use crate::state::Generation;
use crate::sys::mount;

/// A tree that only this process sees, until it is dropped.
pub struct View {
    home: PathBuf,
    /// The generation below, where the pool still has it.
    pub generation: Option<Generation>,
}

impl View {
    /// The tree of a session that nobody is in. Without its generation it shows only what was written. The process gets mounts of
    /// its own.
    pub fn open(pool: &Pool, session: &Session) -> Result<Self> {
        mount::part()?;
        let home = home(pool)?;
        let mut view = Self {
            home,
            generation: None,
        };
        let top = view.top();
        make_dir(&top)?;
        match session.generation().filter(|it| is_there(pool, it)) {
            Some(generation) => {
                assemble::show(pool, &generation, session, &top)?;
                view.generation = Some(generation);
            }
            None => {
                warn!(
                    "the pool has the generation of session {} no more: of files that were not written to, nothing is there",
                    session.name()
                );
                view.show_alone(session)?;
            }
        }
        Ok(view)
    }

    /// Mounts what was written over nothing, for an overlay wants two layers.
    fn show_alone(&self, session: &Session) -> Result<()> {
        make_dir(&self.below())?;
        let mut options = OsString::from("metacopy=on,redirect_dir=on,lowerdir=");
        options.push(mount::option_path(&session.upper()));
        options.push(":");
        options.push(mount::option_path(&self.below()));
        mount::overlay(&options, &self.top(), true)
            .map_err(Error::system("can not mount the session", session.root()))
    }

    fn below(&self) -> PathBuf {
        self.home.join("below")
    }

    /// The top of the tree.
    pub fn top(&self) -> PathBuf {
        self.home.join("top")
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = mount::detach(&self.top());
        for folder in [self.top(), self.below(), self.home.clone()] {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn is_there(pool: &Pool, generation: &Generation) -> bool {
    let path = pool.manifest(generation.number);
    pool.image(generation.number).exists() && has_id(&path, &generation.manifest).unwrap_or(false)
}

/// An empty folder of this process: below `/run`, or else in the pool.
fn home(pool: &Pool) -> Result<PathBuf> {
    let name = format!("view-{}", std::process::id());
    let run = Path::new("/run/reclone");
    let home = match fs::create_dir_all(run) {
        Ok(()) => run.join(name),
        Err(_) => pool.root().join(name),
    };
    make_dir(&home)?;
    Ok(home)
}
