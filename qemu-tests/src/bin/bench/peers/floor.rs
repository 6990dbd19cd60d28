//! How few bytes an update could need, by a measure that is nobody's product: zstd at level 19 over the contents that are new,
//! with their older versions as dictionary.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::compare::{self, Nodes};
use super::sample::{Sample, Samples};
use super::{Place, State};
use crate::measure::measure;

/// The name under which the samples are kept, where those of peers have theirs.
pub const FLOOR: &str = "floor";

/// Measures the update as one stream and the small change content by content.
pub fn measure_floor(
    place: &Place,
    trees: &[Nodes; 3],
    work: &Path,
    samples: &mut Samples,
) -> io::Result<()> {
    fs::create_dir_all(work)?;
    let [release, updated, touched] = trees;
    let contents = compare::new_contents(release, updated);
    let bases: BTreeSet<_> = contents
        .iter()
        .filter_map(|(_, base)| base.clone())
        .collect();
    let old = work.join("old");
    join(&place.trees.path(State::Release), &bases, &old)?;
    let new = work.join("new");
    let paths = contents.iter().map(|(path, _)| path);
    join(&place.trees.path(State::Updated), paths, &new)?;
    let sizes = (fs::metadata(&old)?.len(), fs::metadata(&new)?.len());
    println!(
        "update: {} new contents, {} bytes; {} bytes of older ones",
        contents.len(),
        sizes.1,
        sizes.0
    );
    let mut sample = compress(&new, Some(&old))?;
    samples.put(key("update"), vec![sample])?;
    println!("  floor {} bytes", sample.bytes);
    sample = compress(&new, None)?;
    samples.put(key("update-whole"), vec![sample])?;
    println!("  without the older ones {} bytes", sample.bytes);
    let mut sum = Sample::default();
    let contents = compare::new_contents(updated, touched);
    for (path, base) in &contents {
        let new = place.trees.path(State::Touched).join(path);
        let whole = compress(&new, None)?;
        let patch = match base {
            Some(base) => compress(&new, Some(&place.trees.path(State::Updated).join(base)))?,
            None => whole,
        };
        sum.bytes += whole.bytes.min(patch.bytes);
    }
    println!(
        "small change: {} new contents, floor {} bytes",
        contents.len(),
        sum.bytes
    );
    samples.put(key("small"), vec![sum])?;
    fs::remove_dir_all(work)
}

fn key(operation: &str) -> [String; 3] {
    [FLOOR, "-", operation].map(str::to_owned)
}

fn join<'a>(
    top: &Path,
    paths: impl IntoIterator<Item = &'a PathBuf>,
    target: &Path,
) -> io::Result<()> {
    let mut output = io::BufWriter::new(File::create(target)?);
    for path in paths {
        io::copy(&mut File::open(top.join(path))?, &mut output)?;
    }
    io::Write::flush(&mut output)
}

fn compress(new: &Path, old: Option<&Path>) -> io::Result<Sample> {
    let output = std::env::temp_dir().join(format!("reclone-floor-{}", std::process::id()));
    let mut zstd = Command::new("zstd");
    zstd.args(["-q", "-f", "-19", "--long=31"]);
    if let Some(old) = old {
        zstd.arg(format!("--patch-from={}", old.display()));
    }
    let cost = measure(zstd.arg(new).arg("-o").arg(&output))?;
    let bytes = fs::metadata(&output)?.len();
    fs::remove_file(output)?;
    Ok(Sample {
        cost,
        bytes,
        ..Sample::default()
    })
}
