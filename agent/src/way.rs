//! The way from what a pool has to the generation of a head: its manifest, then a plan. Writes the manifest and nothing else.

use std::path::Path;
use std::thread;

use log::warn;
use reclone_format::{Head, ObjectId, PackRef, PackedObject, PublicKey};

use crate::bases::Bases;
use crate::error::{Error, Result};
use crate::held::HeldObjects;
use crate::manifest::{fetch_manifest, follow_manifests, open_manifest};
use crate::memory;
use crate::open_pack::OpenPack;
use crate::plan::{Plan, Sources};
use crate::pool::Pool;
use crate::route::{self, Links};
use crate::state::State;
use crate::store::Store;
use crate::wanted::Wanted;

/// A guess at the bytes of an image, per entry.
const IMAGE_ENTRY: u64 = 256;

/// From where to where.
pub struct Finder<'a> {
    /// The clone's.
    pub pool: &'a Pool,
    /// What the pool has.
    pub state: &'a State,
    /// Where from.
    pub store: &'a dyn Store,
    /// Who must have signed the heads of generations between.
    pub key: &'a PublicKey,
    /// What is wanted.
    pub head: &'a Head,
    /// Whether only to look: then no more of a pack is asked for than its prelude.
    pub looks: bool,
}

/// The packs that were opened for the manifest, and are to be read on.
pub struct Way<'a> {
    /// Delta packs, where they lead there.
    links: Vec<OpenPack>,
    /// The first pack of the head, where the manifest came in that.
    first: Option<OpenPack>,
    /// Delta packs that lead there, too, and may cost less than what the full packs do.
    instead: Links,
    /// What the pool has.
    held: HeldObjects<'a>,
}

/// What it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Objects fetched.
    pub objects: u64,
    /// Their bytes, as files.
    pub content: u64,
    /// Their bytes, as they come from the store.
    pub transfer: u64,
}

/// What is to be fetched, and how.
pub struct Work {
    /// The objects.
    pub wanted: Wanted,
    /// Their frames.
    pub plan: Plan,
    /// Objects that are only made to make others from.
    pub between: Vec<PackedObject>,
    /// How much that is.
    pub figures: Figures,
}

impl Work {
    fn new(wanted: Wanted, (plan, between): (Plan, Vec<PackedObject>)) -> Self {
        let (objects, content) = wanted.open();
        Self {
            figures: Figures {
                objects,
                content,
                transfer: plan.transfer(),
            },
            wanted: wanted.with(&between),
            plan,
            between,
        }
    }
}

impl Finder<'_> {
    /// Where the bases of its frames may be.
    pub fn bases(&self) -> Bases<'_> {
        let generations = self.state.generations();
        let manifests = generations
            .map(|generation| (generation.manifest, self.pool.manifest(generation.number)));
        Bases::new(self.pool, manifests.collect())
    }

    /// The generations that are here, where they are of this model.
    fn have(&self) -> Vec<u64> {
        let same = self.state.model.as_ref() == Some(&self.head.model);
        let generations = self.state.generations().filter(|_| same);
        generations.map(|generation| generation.number).collect()
    }

    /// Writes the manifest to `path`, by the way that is the shortest as far as heads tell.
    pub fn find(&self, bases: &mut Bases, path: &Path) -> Result<Way<'_>> {
        let (pool, state) = (self.pool, self.state);
        thread::scope(|scope| {
            // Another processor reads the old manifest while the new one comes.
            let held = scope.spawn(|| HeldObjects::of(pool, state));
            let have = self.have();
            let (links, instead) = self.links(&have)?;
            let (links, first) = self.follow(links, bases, path)?;
            let held = held.join().unwrap_or_else(|_| HeldObjects::of(pool, state));
            Ok(Way {
                links,
                first,
                instead,
                held,
            })
        })
    }

    /// Writes the manifest by these delta packs, or without: what was opened for it.
    fn follow(
        &self,
        links: Links,
        bases: &mut Bases,
        path: &Path,
    ) -> Result<(Vec<OpenPack>, Option<OpenPack>)> {
        if !links.is_empty() {
            match follow_manifests(self.store, self.head, &links, self.lengths(), bases, path) {
                Ok(links) => return Ok((links, None)),
                Err(error) if may_be_avoided(&error) => {
                    warn!("{error}: going without this delta");
                }
                Err(error) => return Err(error),
            }
        }
        let first = fetch_manifest(self.store, self.head, bases, path)?;
        Ok((Vec::new(), Some(first)))
    }

    /// The delta packs to follow; and those that may be better than the full packs, which only their indexes tell.
    fn links(&self, have: &[u64]) -> Result<(Links, Links)> {
        if let Some(delta) = route::direct(self.head, have) {
            return Ok((vec![delta], Links::new()));
        }
        let chain = route::chain(self.store, self.key, self.head, have)?;
        // The full packs cost the prelude of the first at least.
        match route::size(&chain) <= self.head.packs[0].prelude {
            true => Ok((chain, Links::new())),
            false => Ok((Links::new(), chain)),
        }
    }

    /// How much of a delta pack to ask for.
    fn lengths(&self) -> fn(&PackRef) -> u64 {
        match self.looks {
            true => |pack| pack.prelude,
            false => |pack| pack.size,
        }
    }

    /// Decides what to fetch, with the manifest at `manifest`: by this way, or without any bases. `take` may take over first
    /// what is to be had without the store.
    pub fn plan(
        &self,
        bases: &Bases,
        manifest: &Path,
        way: Option<Way<'_>>,
        take: impl FnOnce(&Wanted) -> Result<()>,
    ) -> Result<Work> {
        let (way, held) = match way {
            Some(way) => (Some((way.links, way.first, way.instead)), way.held),
            None => (None, HeldObjects::of(self.pool, self.state)),
        };
        let manifest = open_manifest(manifest, self.head)?;
        let wanted = Wanted::of_manifest(manifest, |object| held.has(&object.id))
            .map_err(Error::published("manifest"))?;
        take(&wanted)?;
        let is_held = |id: &ObjectId| bases.is_manifest(id) || held.has(id);
        let sources = || Sources::new(self.store, &self.head.packs);
        let Some((links, first, instead)) = way else {
            let planned = sources().without_bases().plan(&wanted, is_held)?;
            return Ok(Work::new(wanted, planned));
        };
        let memory = memory::limit();
        let mut all = sources().with_links(links, memory);
        if let Some(open) = first {
            all = all.with_open(open);
        }
        let mut planned = all.plan(&wanted, is_held)?;
        if !instead.is_empty() && route::size(&instead) < planned.0.transfer() {
            let open = |pack| OpenPack::open(self.store, pack, self.lengths()(pack));
            let links = instead.iter().map(open).collect::<Result<_>>()?;
            planned = sources().with_links(links, memory).plan(&wanted, is_held)?;
        }
        Ok(Work::new(wanted, planned))
    }

    /// Bytes of disk that it takes.
    pub fn space(&self, work: &Work) -> u64 {
        // Half a block of slack a file, and the inode.
        let files = work.figures.objects * (2048 + 256);
        let image = u64::from(self.head.manifest.entries) * IMAGE_ENTRY;
        work.plan.space().saturating_add(files + image)
    }
}

/// Whether what is wrong is one pack, or what it is based on: not the line, and not this disk.
pub fn may_be_avoided(error: &Error) -> bool {
    match error {
        Error::Published { .. } | Error::Absent(_) | Error::Damaged { .. } => true,
        Error::Store(error) => error.is_of_the_file(),
        _ => false,
    }
}
