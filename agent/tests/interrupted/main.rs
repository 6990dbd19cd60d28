//! Syncs that are killed, cut off, stalled, crowded out or short of space: what was verified is never fetched again, and the old
//! generation stays.
#![allow(clippy::unwrap_used)]

mod disk;

#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/server.rs"]
mod server;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use noise::noise;
use programs::{Site, complaint, succeed};
use reclone_format::{Frame, Head, PackIndex, PackRef, head, object_id_of};
use server::{Asked, Fault, FaultyServer};

/// A site whose store has 14 MiB in four frames: one of one large file, three of small ones.
fn site(folder: &Path) -> Site {
    let site = Site::new(folder);
    fs::write(site.tree.join("large"), noise(5 << 20, 99)).unwrap();
    for number in 0..18 {
        let path = site.tree.join(format!("small-{number:02}"));
        fs::write(path, noise(512 << 10, number)).unwrap();
    }
    site.publish_with(&["--no-delta"]);
    site
}

/// A server with what the store holds now.
fn serve(site: &Site) -> FaultyServer {
    let server = FaultyServer::start();
    serve_again(site, &server);
    server
}

fn serve_again(site: &Site, server: &FaultyServer) {
    server.put("head", &fs::read(site.store.join("head")).unwrap());
    for pack in fs::read_dir(site.store.join("packs")).unwrap() {
        let pack = pack.unwrap();
        let name = format!("packs/{}", pack.file_name().to_str().unwrap());
        server.put(&name, &fs::read(pack.path()).unwrap());
    }
}

/// The newest pack of the store and its frames.
fn newest(site: &Site) -> (PackRef, Vec<Frame>) {
    let bytes = fs::read(site.store.join("head")).unwrap();
    let head = Head::parse(head::split(&bytes).unwrap().0).unwrap();
    let pack = head.packs[0].clone();
    let bytes = fs::read(site.store.join(pack.id.store_path())).unwrap();
    let frames = PackIndex::parse(&bytes, &pack.id).unwrap().into_frames();
    (pack, frames)
}

/// The bytes of the packs that were asked for, in order.
fn ranges(asked: &[Asked]) -> Vec<(u64, u64)> {
    let range = |asked: &Asked| {
        let (first, last) = asked
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((first.parse().unwrap(), last.parse::<u64>().unwrap() + 1))
    };
    asked.iter().filter_map(range).collect()
}

fn start(command: &mut Command) -> Child {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether something becomes true while the server still stalls.
fn soon(it_is: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        if it_is() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Whether every object of a frame is staged, whole.
fn is_staged(site: &Site, frame: &Frame) -> bool {
    frame.objects.iter().all(|object| {
        let path = site
            .pool
            .join("staging/objects")
            .join(object.id.pool_path());
        fs::read(path).is_ok_and(|content| object_id_of(&content) == object.id)
    })
}

#[test]
fn a_killed_sync_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let (pack, frames) = newest(&site);
    let frames = &frames[1..];
    let end = frames
        .last()
        .map(|frame| frame.offset + frame.length)
        .unwrap();
    assert_eq!(frames.len(), 4);
    // Killed in the middle of the head, the index, each frame; before a frame, and behind the last byte.
    let in_frames = frames.iter().flat_map(|frame| {
        let at = frame.offset - pack.prelude;
        [at, at + frame.length / 2]
    });
    // In pieces of the third answer; before it nothing is staged.
    let in_frames = in_frames.chain([end - pack.prelude - 1]).map(|at| {
        let faults = vec![Fault::None, Fault::None, Fault::Stall(at as usize)];
        (faults, pack.prelude + at)
    });
    let early = [vec![Fault::Stall(40)], vec![Fault::None, Fault::Stall(100)]];
    let points = early.into_iter().map(|faults| (faults, 0));
    let staged = points
        .chain(in_frames)
        .map(|(faults, reached)| kill_and_go_on(&site, frames, faults, reached));
    assert_eq!(staged.max(), Some(3), "all but the last frame");
}

/// Kills a first sync where `faults` make its server stall, `reached` bytes into the pack, and lets another end it.
/// Gives the number of frames that were staged between the two.
fn kill_and_go_on(site: &Site, frames: &[Frame], faults: Vec<Fault>, reached: u64) -> usize {
    let _ = fs::remove_dir_all(&site.pool);
    let server = serve(site);
    server.fail(faults.clone());
    let mut child = start(&mut site.sync_from(server.url()));
    server.wait_for_stall();
    // Every frame that came whole is staged before long.
    let came = frames.iter().filter(|it| it.offset + it.length <= reached);
    assert!(soon(|| came.clone().all(|frame| is_staged(site, frame))));
    child.kill().unwrap();
    child.wait().unwrap();
    let (staged, open): (Vec<&Frame>, Vec<&Frame>) =
        frames.iter().partition(|frame| is_staged(site, frame));
    server.asked();
    server.sent();

    succeed(&mut site.sync_from(server.url()));
    let (pack, _) = newest(site);
    let asked = ranges(&server.asked());
    assert_eq!(asked[0], (0, pack.prelude));
    let times = |frame: &&Frame| {
        let (from, to) = (frame.offset, frame.offset + frame.length);
        let ranges = asked[1..].iter();
        ranges.filter(|it| it.0 < to && from < it.1).count()
    };
    assert!(
        staged.iter().all(|frame| times(frame) == 0),
        "{faults:?}: {asked:?}"
    );
    assert!(
        open.iter().all(|frame| times(frame) == 1),
        "{faults:?}: {asked:?}"
    );
    let head = fs::metadata(site.store.join("head")).unwrap().len();
    let rest: u64 = open.iter().map(|frame| frame.length).sum();
    assert_eq!(server.sent(), head + pack.prelude + rest, "{faults:?}");
    assert!(!site.pool.join("staging").exists());
    succeed(&mut site.verb("verify"));
    staged.len()
}

#[test]
fn what_an_interrupted_sync_staged_in_part_or_damaged_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let (_, frames) = newest(&site);
    let frames = &frames[1..];
    for frame in frames {
        for object in &frame.objects {
            let path = site
                .pool
                .join("staging/objects")
                .join(object.id.pool_path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
        }
    }
    // Of the last frame all is whole but one object, of which a bit is flipped, and one that nobody wants.
    let last = frames.last().unwrap();
    let mut damaged = None;
    for entry in fs::read_dir(&site.tree).unwrap() {
        let mut content = fs::read(entry.unwrap().path()).unwrap();
        let id = object_id_of(&content);
        if last.objects.iter().any(|object| object.id == id) {
            if damaged.is_none() {
                content[7] ^= 1;
                damaged = Some(id);
            }
            fs::write(
                site.pool.join("staging/objects").join(id.pool_path()),
                content,
            )
            .unwrap();
        }
    }
    let unwanted = site.pool.join("staging/objects/aa");
    fs::create_dir_all(&unwanted).unwrap();
    fs::write(unwanted.join("unwanted"), "").unwrap();
    let (said, log) = succeed(&mut site.sync());
    let taken = last.objects.len() - 1;
    let wanted = 19 - taken;
    assert!(
        said.starts_with(&format!("generation 1 is current: {wanted} objects, ")),
        "{said}"
    );
    assert!(
        log.contains(&format!("took over {taken} objects, ")),
        "{log}"
    );
    assert!(!site.pool.join("objects/aa/unwanted").exists());
    succeed(&mut site.verb("verify"));
}

#[test]
fn a_connection_cut_in_mid_range_costs_one_more_range() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let (pack, _) = newest(&site);
    let server = serve(&site);
    server.fail([Fault::None, Fault::None, Fault::Drop(3_000_000)]);
    succeed(&mut site.sync_from(server.url()));
    assert_eq!(
        ranges(&server.asked()),
        [
            (0, pack.prelude),
            (pack.prelude, pack.size),
            (pack.prelude + 3_000_000, pack.size)
        ]
    );
    let head = fs::metadata(site.store.join("head")).unwrap().len();
    assert_eq!(server.sent(), head + pack.size);
    succeed(&mut site.verb("verify"));
}

#[test]
fn a_server_without_ranges_is_asked_for_whole_files() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let server = serve(&site);
    server.fail(vec![Fault::NoRange; 9]);
    let (said, _) = succeed(&mut site.sync_from(server.url()));
    assert!(
        said.contains("generation 1 is current: 19 objects, 14.0 MiB (3 requests, "),
        "{said}"
    );
    let asked = server.asked();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    let place = format!("/{}", newest(&site).0.id.store_path());
    assert_eq!(paths, ["/head", &place, &place]);
    // Once it is known, no range is asked for.
    assert_eq!(ranges(&asked).len(), 1);
    succeed(&mut site.verb("verify"));
}

#[test]
fn a_server_that_stalls_costs_no_more_than_the_time_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let (pack, _) = newest(&site);
    let server = serve(&site);
    let place = format!("{}/{}", server.url(), pack.id.store_path());
    for (faults, place) in [
        (vec![Fault::Stall(10)], format!("{}/head", server.url())),
        (vec![Fault::None, Fault::Stall(10)], place.clone()),
        (
            vec![Fault::None, Fault::None, Fault::Stall(6_000_000)],
            place,
        ),
    ] {
        server.fail(faults);
        let start = Instant::now();
        let said = complaint(site.sync_from(server.url()).args(["--timeout", "2"]), 4);
        assert_eq!(said, format!("{place}: no time is left"));
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{:?}",
            start.elapsed()
        );
        assert!(site.status()["current"].is_null());
    }
    succeed(
        site.sync_from(server.url())
            .args(["--timeout", "18446744073709551615"]),
    );
}

#[test]
fn nothing_new_costs_one_request() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let server = serve(&site);
    succeed(&mut site.sync_from(server.url()));
    server.asked();
    server.sent();
    let before = fs::read(site.pool.join("state")).unwrap();
    let (said, log) = succeed(&mut site.sync_from(server.url()));
    assert_eq!(said, "generation 1 is current, nothing newer (1 request)\n");
    assert_eq!(log, "");
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/head");
    assert!(asked[0].header("if-none-match").is_some());
    assert_eq!((server.sent(), server.connections()), (0, 2));
    // A server that ignores the condition sends the head, and that is all.
    server.fail([Fault::NoCondition]);
    let (said, _) = succeed(&mut site.sync_from(server.url()));
    assert_eq!(said, "generation 1 is current, nothing newer (1 request)\n");
    assert_eq!(server.asked().len(), 1);
    assert_eq!(fs::read(site.pool.join("state")).unwrap(), before);
}

#[test]
fn two_syncs_at_once_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let server = serve(&site);
    server.fail([Fault::None, Fault::None, Fault::Stall(1_000_000)]);
    let mut first = start(&mut site.sync_from(server.url()));
    server.wait_for_stall();
    let busy = format!(
        "{}: another reclone works on this pool; try again when it is done",
        site.pool.display()
    );
    assert_eq!(complaint(&mut site.sync(), 7), busy);
    for verb in ["verify", "prune", "rollback"] {
        assert_eq!(complaint(&mut site.verb(verb), 7), busy, "{verb}");
    }
    // What only reads needs no lock.
    assert!(site.status()["current"].is_null());
    first.kill().unwrap();
    first.wait().unwrap();
    succeed(&mut site.sync());
}

#[test]
fn a_dry_run_fetches_the_manifest_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    succeed(&mut site.sync());
    fs::write(site.tree.join("small-00"), noise(512 << 10, 1000)).unwrap();
    site.publish_with(&["--no-delta"]);
    let before = fs::read(site.pool.join("state")).unwrap();
    let server = serve(&site);
    let (pack, frames) = newest(&site);
    let (said, _) = succeed(site.sync_from(server.url()).arg("--dry-run"));
    let first = "generation 2 would be fetched: 1 objects, 0.5 MiB\n";
    assert!(said.starts_with(first), "{said}");
    assert_eq!(ranges(&server.asked()), [(0, pack.prelude)]);
    assert_eq!(fs::read(site.pool.join("state")).unwrap(), before);
    assert_eq!(site.status()["current"].as_u64(), Some(1));
    for folder in ["images", "manifests"] {
        assert!(!site.pool.join(folder).join("2").exists());
    }
    let object = frames[1].objects[0].id;
    assert!(!site.pool.join("objects").join(object.pool_path()).exists());
    let (said, _) = succeed(&mut site.sync());
    assert!(
        said.starts_with("generation 2 is current: 1 objects, "),
        "{said}"
    );
}
