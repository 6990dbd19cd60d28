//! The verbs `restore` and `diff`.

use std::path::{Component, Path, PathBuf};

use reclone_format::TreePath;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;

use crate::cli;
use crate::compare::Difference;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::restore::{self, Request};
use crate::running::Running;
use crate::state::Generation;
use crate::tree::Tree;
use crate::{compare, hooks, run};

/// Restores each path; tells what differed, too, where that is all that was asked for.
pub fn run_restore(options: &cli::Restore) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::Usage("Only root may restore".into()));
    }
    if options.paths.is_empty() {
        return Err(Error::Usage(
            "No path is named: `reclone restore PATH…`, `/` for everything".into(),
        ));
    }
    let pool = run::open_pool(options.pool.as_ref())?;
    let base = options.to.as_deref().map(absolute).transpose()?;
    let generation = generation(&pool, options.generation.as_deref(), base.as_deref())?;
    let mut told = Told::new(generation, options.json);
    let mut restored = Vec::new();
    let outcome = options.paths.iter().try_for_each(|path| {
        let request = Request {
            generation,
            path: tree_path(path)?,
            to: base.clone(),
            checksum: options.checksum,
            in_place: options.in_place,
        };
        let plan = restore::plan(&pool, &request)?;
        if !options.dry_run {
            plan.apply()?;
        }
        told.add(&request.path, plan.differences(), options.dry_run);
        restored.push(path.clone());
        Ok(())
    });
    // Who uses what was restored hears of it, whatever became of the rest.
    if told.count > 0 && !options.dry_run && base.is_none() {
        hooks::run(Path::new(hooks::FOLDER), &restored);
    }
    told.end(outcome)
}

/// Tells what differs; ends with an error where anything does, as `diff` does.
pub fn run_diff(options: &cli::Diff) -> Result<()> {
    let pool = run::open_pool(options.pool.as_ref())?;
    let base = options.to.as_deref().map(absolute).transpose()?;
    let generation = generation(&pool, options.generation.as_deref(), base.as_deref())?;
    let top = [PathBuf::from("/")];
    let paths = match options.paths.is_empty() {
        true => &top[..],
        false => &options.paths,
    };
    let next = pool.current()?;
    let mut told = Told::new(if options.next { next } else { generation }, options.json);
    for path in paths {
        let path = tree_path(path)?;
        let differences = match options.next {
            true => between(&pool, &generation, &next, &path)?,
            false => {
                let request = Request {
                    generation,
                    path: path.clone(),
                    to: base.clone(),
                    checksum: options.checksum,
                    in_place: true,
                };
                restore::plan(&pool, &request)?.differences().to_vec()
            }
        };
        told.add(&path, &differences, true);
    }
    told.finish()
}

/// How a part of one generation differs in another.
fn between(
    pool: &Pool,
    old: &Generation,
    new: &Generation,
    path: &TreePath,
) -> Result<Vec<Difference>> {
    if old == new {
        return Ok(Vec::new());
    }
    let tree = |generation: &Generation| Tree::of_generation(pool, generation.number, path);
    match (tree(old)?, tree(new)?) {
        (None, None) => Err(Error::NoPath {
            path: path.to_string(),
            generation: new.number,
        }),
        (old, new) => Ok(compare::trees(old.as_ref(), new.as_ref())),
    }
}

/// A folder's own path. No link on the way is followed later, so all of them are now.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).map_err(Error::system("can not find the folder", path))
}

/// A path as the tree has it, from one of this system.
pub fn tree_path(path: &Path) -> Result<TreePath> {
    let absolute = std::path::absolute(path).map_err(Error::system("can not find", path))?;
    let mut bytes = Vec::new();
    for part in absolute.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                if !bytes.is_empty() {
                    bytes.push(b'/');
                }
                bytes.extend_from_slice(name.as_bytes());
            }
            _ => {
                return Err(Error::Usage(format!(
                    "{}: a path must not go up with `..`",
                    path.display()
                )));
            }
        }
    }
    TreePath::from_bytes(bytes).map_err(|error| Error::Usage(error.to_string()))
}

/// The generation that was named, or that which the tree at `base` is of, or the current one.
fn generation(pool: &Pool, named: Option<&str>, base: Option<&Path>) -> Result<Generation> {
    let state = pool.state()?;
    let running = Running::at(base.unwrap_or(Path::new("/"))).map(|running| running.generation);
    match named {
        None => running.map_or_else(|| pool.current(), Ok),
        Some("current") => pool.current(),
        Some("previous") => state
            .previous
            .ok_or_else(|| Error::NoPrevious(pool.root().into())),
        Some(number) => {
            let mut known = state.generations().chain(running);
            let found = known.find(|it| it.number.to_string() == number);
            found.ok_or_else(|| Error::Unknown {
                what: format!("generation {number}"),
                pool: pool.root().into(),
            })
        }
    }
}

/// What was found, as it is printed: lines, or one JSON object.
pub struct Told {
    generation: Generation,
    json: bool,
    values: Vec<Value>,
    lines: Vec<String>,
    count: usize,
}

impl Told {
    /// Nothing yet, held against this generation.
    pub fn new(generation: Generation, json: bool) -> Self {
        Self {
            generation,
            json,
            values: Vec::new(),
            lines: Vec::new(),
            count: 0,
        }
    }

    /// Adds what differs at a path: each difference, or only how many.
    pub fn add(&mut self, path: &TreePath, differences: &[Difference], each: bool) {
        self.count += differences.len();
        self.values.extend(differences.iter().map(value));
        if each {
            self.lines.extend(differences.iter().map(line));
            return;
        }
        let number = self.generation.number;
        self.lines.push(match differences.len() {
            0 => format!("{path} is as in generation {number}"),
            1 => format!("{path} is as in generation {number} again: 1 path differed"),
            count => format!("{path} is as in generation {number} again: {count} paths differed"),
        });
    }

    /// Prints it; an error where anything differs, as with `diff`.
    pub fn finish(&self) -> Result<()> {
        self.end(Ok(()))?;
        match self.count {
            0 => Ok(()),
            count => Err(Error::Differs(count)),
        }
    }

    /// Prints it, and what kept the verb from the rest.
    fn end(&self, outcome: Result<()>) -> Result<()> {
        if !self.json {
            self.lines.iter().for_each(|line| println!("{line}"));
        }
        let number = self.generation.number;
        let value = json!({ "generation": number, "differences": self.values });
        run::end(self.json, value, outcome)
    }
}

/// A difference as a line for people: the word, then the path.
pub fn line(difference: &Difference) -> String {
    format!("{:<12}{}", difference.change.word(), difference.path)
}

/// The same for programs.
pub fn value(difference: &Difference) -> Value {
    json!({ "path": difference.path.to_string(), "change": difference.change.word() })
}
