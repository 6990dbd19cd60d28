//! What becomes of a path, and why: the rule, the line that it comes from, where the content is, what the next boot will do.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use log::warn;
use reclone_format::policy::Line;
use reclone_format::{Entry, Kind, Rule, TreePath};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::keep::folders;
use crate::manifest::find;
use crate::policy;
use crate::pool::Pool;
use crate::running::{self, Running, mount_of};
use crate::thaw;

/// The answer for one path.
#[derive(Debug)]
pub struct Explanation {
    path: TreePath,
    rule: Rule,
    /// None where no line names the path.
    line: Option<Line>,
    /// The generation that the next boot takes, as far as is known now.
    generation: u64,
    /// What the model has there.
    model: Option<&'static str>,
    content: Option<PathBuf>,
    next_boot: String,
}

/// Explains `path` by the generation that boots next. `is_folder` tells what only this clone has; `follow`, whether the whole clone follows.
pub fn explain(pool: &Pool, path: TreePath, is_folder: bool, follow: bool) -> Result<Explanation> {
    let generation = pool.current()?;
    let (policy, errors) = policy::of_generation(pool, &generation)?;
    errors
        .iter()
        .for_each(|error| warn!("{error}: the last good policy counts"));
    let manifest = pool.manifest(generation.number);
    let entry = find(&manifest, &path)?;
    if entry.is_none() {
        leads_nowhere_else(&manifest, &path)?;
    }
    let is_folder = entry
        .as_ref()
        .map_or(is_folder, |it| it.kind == Kind::Directory);
    let verdict = policy.verdict(path.as_bytes(), is_folder);
    let rule = match verdict {
        Some(verdict) => verdict.line.rule,
        None if follow => Rule::Follow,
        None => Rule::Reset,
    };
    let named = Path::new(OsStr::from_bytes(
        &path.as_bytes()[..verdict.map_or(0, |it| it.at)],
    ));
    let own = own_content(pool, rule, named, path.as_path());
    let is_kept = matches!(rule, Rule::Keep | Rule::Seed);
    let next_boot = match mounted_over(path.as_path()).filter(|_| !is_kept) {
        Some(at) => format!("untouched: something is mounted at {}", at.display()),
        None if !is_kept && thaw::boots_left(pool).is_some() => {
            "as this session leaves it, for this clone is thawed".into()
        }
        None => next_boot(rule, &own, entry.is_some(), generation.number),
    };
    let in_pool = entry
        .as_ref()
        .and_then(Entry::object)
        .map(|(id, _)| pool.object(&id));
    Ok(Explanation {
        rule,
        line: verdict.map(|verdict| verdict.line.clone()),
        generation: generation.number,
        model: entry.as_ref().map(|entry| kind_name(&entry.kind)),
        content: match own {
            Own::There(path) => Some(path),
            Own::Removed => None,
            Own::Not => in_pool,
        },
        next_boot,
        path,
    })
}

/// Fails where the model has a link in the place of a folder of the path: the rules go by where that leads.
fn leads_nowhere_else(manifest: &Path, path: &TreePath) -> Result<()> {
    for above in path.as_path().ancestors().skip(1) {
        let above = TreePath::from_bytes(above.as_os_str().as_bytes().into()).unwrap_or_default();
        match find(manifest, &above)?.map(|entry| entry.kind) {
            None => {}
            Some(Kind::Symlink { .. }) => {
                return Err(Error::Usage(format!(
                    "{path} goes through the symbolic link {above}: name the path that it leads to"
                )));
            }
            Some(_) => break,
        }
    }
    Ok(())
}

/// Where another file system begins in a running clone, that shows the path.
fn mounted_over(path: &Path) -> Option<PathBuf> {
    let root = Path::new("/");
    Running::at(root)?;
    let mounts = running::mounts();
    let at = &mount_of(&mounts, &root.join(path))?.at;
    (at != root).then(|| at.clone())
}

/// What the clone has of its own at a path.
enum Own {
    There(PathBuf),
    Removed,
    Not,
}

/// `named` is the path, or the folder above it, that a rule names.
fn own_content(pool: &Pool, rule: Rule, named: &Path, path: &Path) -> Own {
    if matches!(rule, Rule::Reset | Rule::Exclude) {
        return Own::Not;
    }
    let is_kept = rule != Rule::Follow;
    let home = folders::home(pool, named).filter(|home| is_kept && home.is_dir());
    if let Some(home) = home {
        let rest = path.strip_prefix(named).unwrap_or(Path::new(""));
        return match rest.as_os_str().is_empty() {
            true => Own::There(home),
            false => Own::There(home.join(rest)),
        };
    }
    // What runs has the newest.
    let running = running::sessions(pool).into_iter().map(|it| it.upper());
    for top in running.chain(is_kept.then(|| pool.keep())) {
        let file = top.join(path);
        match fs::symlink_metadata(&file) {
            Ok(it) if it.file_type().is_char_device() => return Own::Removed,
            Ok(it) if !it.is_dir() => return Own::There(file),
            _ => {}
        }
    }
    Own::Not
}

fn next_boot(rule: Rule, own: &Own, in_model: bool, generation: u64) -> String {
    let model = match in_model {
        true => format!("as in generation {generation}"),
        false => format!("not there: generation {generation} has no such path"),
    };
    match (rule, own) {
        (Rule::Keep | Rule::Seed, Own::There(_)) => "as this clone left it".into(),
        (Rule::Keep | Rule::Seed, Own::Removed) => "stays removed".into(),
        (Rule::Keep, Own::Not) => {
            "from the system that was installed on this clone, if that or the last session has it"
                .into()
        }
        (Rule::Seed, Own::Not) => format!("{model}; from then on this clone's"),
        (Rule::Follow, _) => "as this clone left it, unless the model changes it".into(),
        (Rule::Reset | Rule::Exclude, _) => model,
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory => "folder",
        Kind::Regular { .. } | Kind::HardLink { .. } => "file",
        Kind::Symlink { .. } => "link",
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } => "device",
        Kind::Fifo => "pipe",
        Kind::Socket => "socket",
    }
}

impl Explanation {
    /// As one JSON object: `null` where there is nothing to say.
    pub fn json(&self) -> Value {
        let line = self.line.as_ref();
        json!({
            "path": self.path.to_string(),
            "rule": self.rule.word(),
            "file": line.map(|line| line.file.as_str()),
            "line": line.map(|line| line.number),
            "pattern": line.map(|line| line.pattern.to_string()),
            "generation": self.generation,
            "model": self.model,
            "content": self.content.as_ref().map(|path| path.to_string_lossy()),
            "next_boot": self.next_boot,
        })
    }

    /// In a few lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "{:<12}{value}", format!("{key}:"));
        };
        line("path", self.path.to_string());
        line("rule", self.rule.word().into());
        line(
            "from",
            match &self.line {
                Some(line) => format!("{}, line {}: {line}", line.file, line.number),
                None => "no rule names it".into(),
            },
        );
        let number = self.generation;
        line(
            "model",
            match self.model {
                Some(kind) => format!("generation {number} has a {kind} there"),
                None => format!("generation {number} has nothing there"),
            },
        );
        if let Some(content) = &self.content {
            line("content", content.display().to_string());
        }
        line("next boot", self.next_boot.clone());
        text
    }
}
