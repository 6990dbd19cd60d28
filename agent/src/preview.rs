//! What a sync would do: how much it would ask of the store, of the disk and of time, and which files it would change. Asks
//! for heads, indexes and the manifest; writes nothing to the pool, which need not even be there.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use reclone_format::{Head, PublicKey, TreePath};
use serde_json::{Value, json};

use crate::accept::{check_head, check_number, known_validators, read_head};
use crate::changes::{Change, compare};
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::manifest::{open_manifest, read_manifest};
use crate::plan::PackPlan;
use crate::pool::Pool;
use crate::state::State;
use crate::store::{HeadAnswer, Store};
use crate::sync::{MARGIN, mib};
use crate::sys::random;
use crate::wanted::Wanted;
use crate::way::{Figures, Finder, Work};

/// What to look at.
pub struct PreviewOptions<'a> {
    /// The store as it was named.
    pub location: &'a str,
    /// Who must have signed.
    pub key: &'a PublicKey,
    /// The model to follow; without it, the one that the pool follows, or the first that comes.
    pub model: Option<&'a str>,
    /// Whether the paths are wanted, too.
    pub paths: bool,
}

/// What a sync would do.
#[derive(Debug, Default)]
pub struct Preview {
    /// The name of the model.
    pub model: String,
    /// The generation that is current.
    pub current: Option<u64>,
    /// The generation that would be, where there is a newer one.
    pub next: Option<u64>,
    /// What would be fetched.
    pub figures: Figures,
    /// Requests to the store, all together.
    pub requests: u64,
    /// Bytes to receive, all together.
    pub bytes: u64,
    /// Seconds for that, by the speed of the last transfer, if there was one.
    pub seconds: Option<f64>,
    /// Paths added, changed and removed, directories not counted.
    pub counts: [u64; 3],
    /// These paths, if they were asked for.
    pub paths: Vec<(Change, TreePath)>,
    /// Its kernels.
    pub kernels: Kernels,
    /// Bytes of disk that it takes, while it lasts.
    pub space: u64,
    /// Bytes of disk that are free.
    pub free: u64,
}

/// Looks what a sync would do.
pub fn preview(pool: &Pool, store: &dyn Store, options: &PreviewOptions) -> Result<Preview> {
    let state = pool.state()?;
    let mut preview = Preview {
        model: state.model.clone().unwrap_or_default(),
        current: state.current.map(|current| current.number),
        ..Preview::default()
    };
    let known = known_validators(pool, &state, options.location, options.model);
    if let HeadAnswer::Fresh { bytes, .. } = store.head(known)? {
        let head = read_head(&bytes, options.location, options.key)?;
        check_head(&head, &bytes, &state, options.model)?;
        preview.model.clone_from(&head.model);
        if is_news(&head, &state) {
            check_number(&head, &state)?;
            preview.look(pool, store, options, &state, &head)?;
        }
    }
    let asked = store.traffic();
    preview.requests += asked.requests;
    preview.bytes += asked.bytes;
    preview.seconds = pool.rate().map(|rate| preview.bytes as f64 / rate as f64);
    preview.free = pool.free_where_it_will_be()?;
    Ok(preview)
}

/// Whether a sync would take the head's generation.
fn is_news(head: &Head, state: &State) -> bool {
    let same = state.model.as_ref() == Some(&head.model);
    let is_refused = state.refused == Some(head.generation);
    let is_current = state
        .current
        .is_some_and(|current| current.manifest == head.manifest.id);
    !(same && (is_refused || is_current))
}

impl Preview {
    fn look(
        &mut self,
        pool: &Pool,
        store: &dyn Store,
        options: &PreviewOptions,
        state: &State,
        head: &Head,
    ) -> Result<()> {
        let scratch = Scratch::create()?;
        let path = scratch.0.join("manifest");
        let finder = Finder {
            pool,
            state,
            store,
            key: options.key,
            head,
            looks: true,
        };
        let mut bases = finder.bases();
        let way = finder.find(&mut bases, &path)?;
        let work = finder.plan(&bases, &path, Some(way), |wanted| {
            claim_staged(pool, wanted);
            Ok(())
        })?;
        self.next = Some(head.generation);
        self.figures = work.figures;
        let packs = work.plan.rounds.iter().flatten();
        self.bytes = packs.map(PackPlan::bytes).sum();
        self.space = finder.space(&work) + head.manifest.size + MARGIN;
        self.requests = further_requests(&work);
        let old = state
            .current
            .filter(|_| state.model.as_ref() == Some(&head.model));
        let manifest = open_manifest(&path, head)?;
        self.kernels = Kernels::of(manifest).map_err(Error::published("manifest"))?;
        // A damaged one is told of by others; everything is new then.
        let old = old.and_then(|current| read_manifest(&pool.manifest(current.number)).ok());
        compare(old, open_manifest(&path, head)?, |change, path| {
            self.counts[change as usize] += 1;
            if options.paths {
                self.paths.push((change, path.clone()));
            }
        })
        .map_err(Error::published("manifest"))
    }

    /// As lines for people.
    pub fn text(&self) -> String {
        let Some(next) = self.next else {
            return match self.current {
                Some(current) => {
                    format!("generation {current} is current, nothing newer to fetch\n")
                }
                None => "nothing to fetch\n".into(),
            };
        };
        let [added, changed, removed] = self.counts;
        let time = self
            .seconds
            .map_or(String::new(), |seconds| format!(", about {seconds:.1} s"));
        let Figures {
            objects, content, ..
        } = self.figures;
        let mut text = format!(
            "generation {next} would be fetched: {objects} objects, {}\n\
             from the store: {} ({} bytes) in {} requests{time}\n\
             files: {added} added, {changed} changed, {removed} removed\n\
             disk: {} needed, {} free\n",
            mib(content),
            mib(self.bytes),
            self.bytes,
            self.requests,
            mib(self.space),
            mib(self.free)
        );
        let kernels = &self.kernels.with_modules;
        if !kernels.is_empty() {
            text += &format!("kernels: {}\n", kernels.join(", "));
        }
        for (change, path) in &self.paths {
            text += &format!("{} {path}\n", sign(*change));
        }
        text
    }

    /// As one JSON object; `null` where there is nothing to say.
    pub fn json(&self) -> Value {
        let [added, changed, removed] = self.counts;
        let paths = self
            .paths
            .iter()
            .map(|(change, path)| json!({"change": sign(*change), "path": path.to_string()}));
        json!({
            "current": self.current,
            "next": self.next,
            "objects": self.figures.objects,
            "content": self.figures.content,
            "bytes": self.bytes,
            "requests": self.requests,
            "seconds": self.seconds,
            "added": added,
            "changed": changed,
            "removed": removed,
            "kernels": self.kernels.with_modules,
            "space": self.space,
            "free": self.free,
            "paths": paths.collect::<Vec<_>>(),
        })
    }
}

fn sign(change: Change) -> &'static str {
    match change {
        Change::Added => "+",
        Change::Changed => "~",
        Change::Removed => "-",
    }
}

/// What an interrupted sync left, by name and size: a sync reads it, which a look does not.
fn claim_staged(pool: &Pool, wanted: &Wanted) {
    for object in wanted.objects() {
        let staged = fs::symlink_metadata(pool.staged_object(&object.id));
        if staged.is_ok_and(|it| it.is_file() && it.len() == object.size) {
            wanted.claim(object);
        }
    }
}

/// Requests for the frames. The answer that brought the index of a delta pack goes on.
fn further_requests(work: &Work) -> u64 {
    let packs = work.plan.rounds.iter().flatten();
    let requests = packs.map(|pack| (pack.requests() - usize::from(pack.is_link)) as u64);
    requests.sum()
}

/// A folder for the manifest, until it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self> {
        let name = format!("reclone-{:016x}", random::number());
        let at = |folder: &Path| {
            let path = folder.join(&name);
            DirBuilder::new().mode(0o700).create(&path).map(|()| path)
        };
        let temp = std::env::temp_dir();
        let made = at(&temp).or_else(|_| at(Path::new("/run")));
        made.map(Self)
            .map_err(Error::system("can not make a folder in", &temp))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is for a system that runs, which clears such folders.
        let _ = fs::remove_dir_all(&self.0);
    }
}
