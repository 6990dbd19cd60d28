//! Which generation becomes the root: the first that can be assembled and has an init and the running kernel's modules.

use std::fs;

use log::warn;
use reclone_format::Policy;

use crate::assemble;
use crate::boot::Places;
use crate::boot::init;
use crate::config::SessionPlace;
use crate::error::{Error, Result};
use crate::keep;
use crate::modules::Modules;
use crate::policy;
use crate::pool::Pool;
use crate::rebase::{self, Following};
use crate::session::{self, Session};
use crate::state::Generation;
use crate::sys::mount;
use crate::thaw::Thawed;

/// What is to be mounted, and how.
pub struct Wanted<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// Where things are.
    pub places: &'a Places,
    /// The modules of the running kernel, if it needs any.
    pub modules: Option<&'a Modules>,
    /// Where to write.
    pub session: &'a SessionPlace,
    /// What goes on from the last session.
    pub following: Following,
    /// The last session, where it is to go on.
    pub last: Option<Session>,
    /// What a thawed clone goes on with, whatever else is wanted.
    pub thawed: Option<Thawed>,
}

/// A generation at the root's place.
struct Mounted {
    generation: Generation,
    policy: Policy,
    session: Session,
}

/// Assembles one of `candidates` at the root's place, the earlier the better, and returns it. A generation without an init or without
/// the modules of the running kernel is taken only when none has them: it would not come up, or without network or graphics.
pub fn assemble(wanted: &Wanted, candidates: &[Generation]) -> Result<Generation> {
    let (pool, root) = (wanted.pool, &wanted.places.root);
    let mounted = match wanted.resume() {
        Some(mounted) => mounted,
        None => wanted.go_on(wanted.mount_best(candidates)?)?,
    };
    if mount::is_writable(pool.root()) {
        keep::folders::adopt(pool, &mounted.policy, &wanted.places.disk(), root);
    }
    keep::folders::mount_all(pool, &mounted.policy, root);
    Ok(mounted.generation)
}

impl Wanted<'_> {
    /// What the mounted root needs to come up and does not have.
    fn lack(&self) -> Option<String> {
        let root = &self.places.root;
        if !init::is_there(root, &self.places.command_line()) {
            return Some("what is to run first: its init".into());
        }
        let missing = self.modules.filter(|modules| !modules.are_in(root))?;
        let release = missing.release();
        Some(format!("the modules of the running kernel {release}"))
    }

    /// Mounts the session of a thawed clone once more over its generation; nothing where there is none or it can not be mounted.
    fn resume(&self) -> Option<Mounted> {
        let thawed = self.thawed.as_ref()?;
        let resumed = self.mount_with(&thawed.generation, thawed.session.clone());
        resumed
            .inspect_err(|error| {
                warn!("the session of before can not go on: {error}: this boot begins anew");
            })
            .ok()
    }

    /// Mounts the first that will do.
    fn mount_best(&self, candidates: &[Generation]) -> Result<Mounted> {
        let (pool, root) = (self.pool, &self.places.root);
        let mut without = None;
        let mut failure = Error::NoGeneration(pool.root().into());
        for generation in candidates {
            match self.mount_generation(generation) {
                Err(error) => {
                    warn!(
                        "generation {} can not boot: {error}: reclone=reset checks and mends it",
                        generation.number
                    );
                    failure = error;
                }
                Ok(mounted) => {
                    let Some(lack) = self.lack() else {
                        return Ok(mounted);
                    };
                    warn!("generation {} lacks {lack}", generation.number);
                    mount::unmount(root).map_err(Error::system("can not unmount", root))?;
                    without.get_or_insert((generation, lack));
                }
            }
        }
        let Some((generation, lack)) = without else {
            return Err(failure);
        };
        let number = generation.number;
        warn!("no generation has all that is needed: generation {number} boots without {lack}");
        self.mount_generation(generation)
    }

    /// Carries on what the last session has of what follows, where the mounted one is not that session itself. Where that can not be done, the boot
    /// begins anew, and the last session is one that ended.
    fn go_on(&self, mounted: Mounted) -> Result<Mounted> {
        let (pool, root) = (self.pool, &self.places.root);
        let is_on_disk =
            *self.session == SessionPlace::Disk && mounted.session.root().starts_with(pool.root());
        let old = self
            .last
            .as_ref()
            .filter(|old| old.root() != mounted.session.root());
        if !is_on_disk {
            return Ok(mounted);
        }
        if !self.following.is_any(&mounted.policy) {
            old.map_or(Ok(()), |old| old.end(pool))?;
            return Ok(mounted);
        }
        let aside = self.places.own();
        let carry = |old| rebase::carry(pool, old, &mounted.policy, self.following, root, &aside);
        let done = old
            .map_or(Ok(()), carry)
            .and_then(|()| rebase::finish(pool, &mounted.session, old));
        let Err(error) = done else {
            return Ok(mounted);
        };
        warn!("what was changed before does not go on: {error}: it is in the sessions that ended");
        mount::unmount(root).map_err(Error::system("can not unmount", root))?;
        mounted.session.end(pool)?;
        let anew = self.mount_generation(&mounted.generation)?;
        rebase::finish(pool, &anew.session, old)?;
        Ok(anew)
    }

    /// Mounts with a new session: an overlay must not meet the traces of another generation. Where the pool's disk is full
    /// even after the old sessions are gone, the session is in memory. On an error nothing stays mounted.
    fn mount_generation(&self, generation: &Generation) -> Result<Mounted> {
        if let SessionPlace::Ram { size } = self.session {
            return self.mount_in_memory(generation, size.as_deref());
        }
        if let Some(last) = &self.last
            && rebase::goes_on(last, generation, &policy::last(self.pool), self.following)
        {
            match self.mount_with(generation, last.clone()) {
                Ok(mounted) => return Ok(mounted),
                Err(error) => warn!("the last session can not go on as it is: {error}"),
            }
        }
        let in_pool =
            || Session::create(self.pool).and_then(|session| self.mount_with(generation, session));
        let in_pool = in_pool().or_else(|_| {
            session::remove_ended(self.pool)?;
            in_pool()
        });
        let error = match in_pool {
            Ok(mounted) => return Ok(mounted),
            Err(error) => error,
        };
        warn!("{error}: trying with what is written in memory");
        self.mount_in_memory(generation, None)
    }

    /// The same with a session in memory, of this size at most.
    fn mount_in_memory(&self, generation: &Generation, size: Option<&str>) -> Result<Mounted> {
        let folder = self.places.own().join("session");
        fs::create_dir_all(&folder).map_err(Error::system("can not make the folder", &folder))?;
        mount::tmpfs(&folder, size).map_err(Error::system("can not mount a tmpfs at", &folder))?;
        let in_memory = Session::open(&folder.join("this"))
            .and_then(|session| self.mount_with(generation, session));
        if in_memory.is_err() {
            mount::unmount(&folder).map_err(Error::system("can not unmount", &folder))?;
        }
        in_memory
    }

    /// Mounts a generation with this session and puts the kept files in place. On an error nothing stays mounted.
    fn mount_with(&self, generation: &Generation, session: Session) -> Result<Mounted> {
        let (pool, root) = (self.pool, &self.places.root);
        session.begin_over(generation)?;
        assemble::assemble(pool, generation, Some(&session), root)?;
        let is_writable = mount::is_writable(pool.root());
        let policy = policy::in_force(pool, root, is_writable);
        if is_writable
            && let Err(error) = keep::files::adopt(pool, &policy, &self.places.disk(), root)
        {
            warn!("{error}");
        }
        let placed =
            keep::files::place(pool, &policy, root).and_then(|()| session.note_kept_files());
        if placed.is_err() {
            mount::unmount(root).map_err(Error::system("can not unmount", root))?;
        }
        placed.map(|()| Mounted {
            generation: *generation,
            policy,
            session,
        })
    }
}
