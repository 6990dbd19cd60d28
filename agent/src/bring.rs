//! A generation on its way from the store into `staging/`: manifest, plan, transfer, image. Syncs and commits nothing.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use log::{info, warn};

use crate::bases::Bases;
use crate::error::{Error, Result};
use crate::fetch::{Transfer, Watcher};
use crate::held::HeldObjects;
use crate::image::Layout;
use crate::manifest::{has_id, lay_out, open_manifest, write_laid_out};
use crate::memory;
use crate::plain_root;
use crate::pool::{Lock, list};
use crate::prune;
use crate::stage::Staging;
use crate::sync::{MARGIN, mib};
use crate::wanted::Wanted;
use crate::way::{Figures, Finder, Work, may_be_avoided};

/// Fewer bytes than this say little about the line.
const MEASURABLE: u64 = 1 << 20;

/// What is to be brought, from where and to where.
pub struct Bring<'a> {
    /// From where to where.
    pub finder: Finder<'a>,
    /// The right to change the pool.
    pub lock: &'a Lock,
    /// Where files may be that a first clone need not fetch.
    pub plain_root: Option<&'a Path>,
    /// Who is told of the progress.
    pub watcher: &'a dyn Watcher,
}

impl Bring<'_> {
    /// Stages the generation completely. After an error, what was staged helps the next run.
    pub fn stage(&self) -> Result<(Staging, Figures)> {
        if let Some(staging) = self.staged()? {
            info!("everything is staged already");
            return Ok((staging, Figures::default()));
        }
        let staging = self.open_staging()?;
        let mut bases = self.finder.bases();
        let (mut work, mut layout) = self.plan(&mut bases, &staging)?;
        if self.make_room(self.finder.space(&work))? {
            // What was removed may be wanted now.
            (work, layout) = self.plan(&mut bases, &staging)?;
            self.make_room(self.finder.space(&work))?;
        }
        self.watcher.planned(&staging.manifest());
        let figures = self.fetch(work, &staging, &bases)?;
        info!(
            "fetched {} objects, {}, as {}",
            figures.objects,
            mib(figures.content),
            mib(figures.transfer)
        );
        let manifest = staging.manifest();
        let layout = layout.map_or_else(|| lay_out(&manifest), Ok)?;
        write_laid_out(layout, &manifest, &staging.image())?;
        Ok((staging, figures))
    }

    /// What is to be fetched; and, of an update, where all will lie in the image, which another processor finds out meanwhile. A first
    /// clone has better use for the memory.
    fn plan(&self, bases: &mut Bases, staging: &Staging) -> Result<(Work, Option<Layout>)> {
        let (finder, manifest) = (&self.finder, staging.manifest());
        let way = finder.find(bases, &manifest)?;
        thread::scope(|scope| {
            let is_update = finder.state.current.is_some();
            let layout = is_update.then(|| scope.spawn(|| lay_out(&manifest)));
            let take = |wanted: &Wanted| self.take(wanted, staging);
            let work = finder.plan(bases, &manifest, Some(way), take)?;
            // What is wrong with it is told when the image is written.
            let layout = layout.and_then(|it| it.join().ok()?.ok());
            Ok((work, layout))
        })
    }

    /// Takes what is here already: of an interrupted sync, and of the plain root.
    fn take(&self, wanted: &Wanted, staging: &Staging) -> Result<()> {
        let (objects, bytes) = staging.take_over(wanted)?;
        if objects > 0 {
            info!(
                "took over {objects} objects, {}, of an interrupted sync",
                mib(bytes)
            );
        }
        // A disk that is too small should be told before it is full.
        let has_room = self.finder.pool.free()? >= wanted.open().1.saturating_add(MARGIN);
        let is_first = self.finder.state.current.is_none() && has_room;
        if let Some(root) = self.plain_root.filter(|_| is_first) {
            let manifest = open_manifest(&staging.manifest(), self.finder.head)?;
            let (objects, bytes) = plain_root::take_from(root, manifest, wanted, staging)?;
            info!(
                "took {objects} objects, {}, from {}",
                mib(bytes),
                root.display()
            );
        }
        Ok(())
    }

    /// What an earlier run staged, if that is all that is needed. It was synced, so it is not read again.
    fn staged(&self) -> Result<Option<Staging>> {
        let Some(staging) = Staging::ready(self.finder.pool, &self.finder.head.manifest.id)? else {
            return Ok(None);
        };
        if !has_id(&staging.manifest(), &self.finder.head.manifest.id)? || !staging.image().exists()
        {
            return Ok(None);
        }
        let held = HeldObjects::of(self.finder.pool, self.finder.state);
        let manifest = open_manifest(&staging.manifest(), self.finder.head)?;
        let wanted = Wanted::of_manifest(manifest, |object| held.has(&object.id))
            .map_err(Error::published("manifest"))?;
        Ok(staging.is_all_of(&wanted)?.then_some(staging))
    }

    /// The staging folder, on a disk that can take a manifest.
    fn open_staging(&self) -> Result<Staging> {
        let staging = Staging::open(self.finder.pool)?;
        let room = self.make_room(self.finder.head.manifest.size);
        if room.is_err() && !list(&staging.objects())?.is_empty() {
            // It may be what fills the disk, and no longer be wanted.
            warn!("removing what an interrupted sync left");
            staging.clear()?;
            let staging = Staging::open(self.finder.pool)?;
            self.make_room(self.finder.head.manifest.size)?;
            return Ok(staging);
        }
        room.map(|_| staging)
    }

    /// Fetches what was planned; where delta packs or bases turn out not to be right, what is left without them.
    fn fetch(&self, work: Work, staging: &Staging, bases: &Bases) -> Result<Figures> {
        let mut figures = work.figures;
        let (started, before) = (Instant::now(), self.finder.store.traffic().bytes);
        let based = work.plan.has_bases();
        match self.transfer(work, staging, bases) {
            Err(error) if based && may_be_avoided(&error) => {
                let take = |wanted: &Wanted| staging.take_over(wanted).map(drop);
                let rest = match self.finder.plan(bases, &staging.manifest(), None, take) {
                    Err(Error::Absent(_)) => return Err(error),
                    planned => planned?,
                };
                warn!("{error}: fetching the rest without deltas");
                figures.transfer += rest.figures.transfer;
                self.transfer(rest, staging, bases)?;
            }
            done => done?,
        }
        let bytes = self.finder.store.traffic().bytes - before;
        let rate = bytes as f64 / started.elapsed().as_secs_f64().max(0.001);
        if bytes >= MEASURABLE
            && let Err(error) = self.finder.pool.note_rate(rate as u64)
        {
            warn!("{error}");
        }
        Ok(figures)
    }

    fn transfer(&self, mut work: Work, staging: &Staging, bases: &Bases) -> Result<()> {
        let transfer = Transfer {
            store: self.finder.store,
            bases,
            staging,
            wanted: &work.wanted,
            memory: memory::limit(),
            watcher: self.watcher,
        };
        transfer.run(&mut work.plan)?;
        for object in &work.between {
            let path = staging.object(&object.id);
            fs::remove_file(&path).map_err(Error::system("can not remove", &path))?;
        }
        Ok(())
    }

    /// Makes sure that the disk can take `size` bytes. Whether old generations had to go for that.
    fn make_room(&self, size: u64) -> Result<bool> {
        let needed = size.saturating_add(MARGIN);
        if self.finder.pool.free()? >= needed {
            return Ok(false);
        }
        warn!("the disk is short of space: removing what no generation needs");
        prune::prune(self.finder.pool, self.lock)?;
        match self.finder.pool.free()? {
            free if free < needed => Err(Error::Full {
                path: self.finder.pool.root().into(),
                needed: needed >> 20,
                free: free >> 20,
            }),
            _ => Ok(true),
        }
    }
}
