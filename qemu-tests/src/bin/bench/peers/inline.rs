//! Whether small contents should be kept in manifest and image, and not as objects of their own: an experiment that the product
//! need not know of. In a copy of the trees, files up to a limit are emptied (an empty file has no object) and their contents
//! are one more file, as they would be one more part of manifest and image: it is as large, and it changes whenever one of
//! them does. Reading is measured on an image with the small files in it, made by mkfs.erofs.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::compare::Nodes;
use super::reclone::Reclone;
use super::rounds::{Run, publish};
use super::sample::Sample;
use super::{Peer, Place, State, Trees};
use crate::measure::{drop_caches, measure, shell};
use crate::trees::remove;

const LIMITS: [u64; 5] = [0, 64, 512, 2_048, 4_000];
/// The contents of all that is inlined, in the order of their paths.
const INLINED: &str = "inlined";

/// Prints the table; `work` is made and removed. `real` has the real trees and serves from its folder.
pub fn run(run: &Run<'_>, real: &Reclone, work: &Path) -> io::Result<()> {
    let (mut lines, mut read) = (Vec::new(), String::new());
    for limit in LIMITS {
        remove(work)?;
        let peer = Reclone {
            place: Place {
                trees: Trees {
                    root: work.join("trees"),
                },
                server: real.place.server.with_file_name("inline"),
                client: work.join("client"),
            },
            programs: real.programs.clone(),
        };
        for state in [State::Release, State::Updated] {
            let [from, to] = [real, &peer].map(|peer| peer.place.trees.path(state));
            emptied(&from, &to, run.tree(state), limit)?;
        }
        lines.push(row(run, &peer, limit)?);
        if limit == 0 {
            let (objects, image) = read_all(run, &peer, work)?;
            read = format!("{objects:.2} s as objects, {image:.2} s from an image");
        }
        peer.clear()?;
    }
    println!("\n| up to | files | first clone | its CPU | its bytes | update | image |");
    println!("|---|---|---|---|---|---|---|\n{}", lines.join("\n"));
    println!("\nreading them all, cold: {read}");
    remove(work)
}

fn row(run: &Run<'_>, peer: &Reclone, limit: u64) -> io::Result<String> {
    peer.clear()?;
    publish(peer, State::Release)?;
    publish(peer, State::Updated)?;
    let mut clones = Vec::new();
    for _ in 0..run.runs {
        clones.push(run.first_clone(peer, State::Release)?);
    }
    let clone = middle(clones);
    peer.offer(State::Updated)?;
    let update = run.measure(peer, &peer.fetch(State::Updated, &run.near))?;
    let image = fs::metadata(peer.place.client.join("pool/images/1"))?.len();
    let inlined = fs::metadata(peer.place.trees.path(State::Release).join(INLINED));
    let files = small(run.tree(State::Release), limit).count();
    Ok(format!(
        "| {limit} | {files} | {:.2} s | {:.2} s | {} | {} | {} |",
        clone.cost.wall.as_secs_f64(),
        clone.cost.cpu.as_secs_f64(),
        clone.bytes,
        update.bytes,
        image + inlined.map_or(0, |file| file.len())
    ))
}

fn middle(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by_key(|sample| sample.cost.wall);
    samples[samples.len() / 2]
}

/// The files of at most this size, but for empty ones.
fn small(tree: &Nodes, limit: u64) -> impl Iterator<Item = &PathBuf> {
    let is_small = move |size| (1..=limit).contains(&size);
    let files = tree
        .iter()
        .filter(move |(_, node)| node.is_file() && is_small(node.size()));
    files.map(|(path, _)| path)
}

/// Makes `target` the tree `source` with the contents of its small files in one more file. Large ones are links.
fn emptied(source: &Path, target: &Path, tree: &Nodes, limit: u64) -> io::Result<()> {
    fs::create_dir_all(target.parent().expect("it has a folder"))?;
    let script = format!("cp -al {} {}", source.display(), target.display());
    measure(&shell(script.as_ref()))?;
    let (mut known, mut inlined) = (HashSet::new(), Vec::new());
    for path in small(tree, limit) {
        let path = target.join(path);
        let (content, metadata) = (fs::read(&path)?, fs::metadata(&path)?);
        fs::remove_file(&path)?;
        let file = File::create(&path)?;
        chown(&path, Some(metadata.uid()), Some(metadata.gid()))?;
        file.set_permissions(fs::Permissions::from_mode(metadata.mode()))?;
        file.set_modified(metadata.modified()?)?;
        if known.insert(content.clone()) {
            inlined.extend_from_slice(&content);
        }
    }
    match limit {
        0 => Ok(()),
        _ => fs::write(target.join(INLINED), inlined),
    }
}

/// Seconds to read all small files, with cold caches: from the objects of a pool, and from an image that has them inside.
/// `peer` has the trees as they are.
fn read_all(run: &Run<'_>, peer: &Reclone, work: &Path) -> io::Result<(f64, f64)> {
    let tree = run.tree(State::Release);
    let (model, part) = (peer.place.trees.path(State::Release), work.join("part"));
    let limit = LIMITS[LIMITS.len() - 1];
    for path in small(tree, limit) {
        let target = part.join(path);
        fs::create_dir_all(target.parent().expect("it has a folder"))?;
        fs::hard_link(model.join(path), target)?;
    }
    let [image, mounted] = ["part.erofs", "part.mounted"].map(|name| work.join(name));
    let script = format!(
        "mkfs.erofs --quiet {1} {0}; mkdir {2}; mount -t erofs -o loop,ro {1} {2}",
        part.display(),
        image.display(),
        mounted.display()
    );
    measure(&shell(script.as_ref()))?;
    let from_image = read(&mounted, tree, limit);
    nix::mount::umount(&mounted)?;
    run.first_clone(peer, State::Release)?;
    let mut from_objects = 0.0;
    peer.with_tree(false, &mut |top| {
        from_objects = read(top, tree, limit)?;
        Ok(())
    })?;
    Ok((from_objects, from_image?))
}

fn read(top: &Path, tree: &Nodes, limit: u64) -> io::Result<f64> {
    drop_caches()?;
    let start = Instant::now();
    for path in small(tree, limit) {
        fs::read(top.join(path))?;
    }
    Ok(start.elapsed().as_secs_f64())
}
