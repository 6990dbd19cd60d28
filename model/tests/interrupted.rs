//! A publish that does not come to its end: killed at any write, out of disk space, or met by another one. Whatever
//! happens, `head` names a whole generation, and the next publish works.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use support::{Model, Mounted, Ran, names, noise};

/// The calls that can leave something behind, and none that reading needs.
const CALLS: [&str; 5] = ["rename", "fsync", "ftruncate", "pwrite64", "fchmod"];

#[test]
fn a_publish_killed_at_any_write_leaves_a_whole_generation() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: no strace");
        return;
    }
    let model = Model::new();
    model.write("first", noise(1, 300_000));
    model.write("large", vec![1; 5 << 20]);
    model.publish(&[]).expect(0);
    let mut number = 1;
    let mut killed = 0;
    for call in CALLS {
        for count in 1.. {
            model.write(&format!("{call}-{count}"), noise(count, 2000));
            model.write("large", vec![killed as u8; 5 << 20]);
            let ran = killed_at(&model, call, count);
            model.verify().expect(0);
            let now = model.head().generation;
            assert!(
                now == number || now == number + 1,
                "{call} {count}: {number}, then {now}"
            );
            number = now;
            if ran.code == Some(0) {
                break;
            }
            killed += 1;
            let ran = model.publish(&["--effort", "low"]).expect(0);
            let again = ran.generation();
            assert!(again == number || again == number + 1);
            number = again;
            assert_eq!(names(&model.store().join(".reclone-model/temp")), [""; 0]);
            model.verify().expect(0);
        }
    }
    assert!(killed >= 12, "only {killed} points were tried");
}

/// Runs a publish that is killed when it enters a system call for the `count`th time.
fn killed_at(model: &Model, call: &str, count: u64) -> Ran {
    let publishing = model.publishing(&["--effort", "low"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=SIGKILL:when={count}")]);
    strace
        .arg(publishing.get_program())
        .args(publishing.get_args());
    strace.output().unwrap().into()
}

#[test]
fn a_full_disk_leaves_the_old_generation_in_place() {
    let model = Model::without_store();
    let _disk = Mounted::new(model.store(), &["-t", "tmpfs", "-o", "size=2m", "none"]);
    support::run(&["init", &model.store_text(), "--key", &model.key_text()]).expect(0);
    model.write("small", "x");
    model.publish(&[]).expect(0);
    let before = fs::read(model.store().join("head")).unwrap();
    // One that is packed in memory, and one that is streamed.
    for size in [3 << 20, 6 << 20] {
        model.write("large", noise(1, size));
        let ran = model.publish(&[]).expect(1).says("No space left on device");
        assert!(!ran.errors.contains("/large"), "{ran:?}");
        assert_eq!(fs::read(model.store().join("head")).unwrap(), before);
        assert_eq!(names(&model.store().join("packs")).len(), 1);
        assert_eq!(names(&model.store().join("heads")), ["1"]);
        assert_eq!(names(&model.store().join(".reclone-model/temp")), [""; 0]);
        model.verify().expect(0);
    }
    model.write("large", noise(1, 1 << 20));
    assert_eq!(model.publish(&[]).generation(), 2);
    model.verify().expect(0);
}

#[test]
fn a_second_publish_says_who_holds_the_store() {
    let model = Model::new();
    model.write("a", "x");
    let lock = model.store().join(".reclone-model/lock");
    let holder = Command::new("flock")
        .arg(&lock)
        .args([
            "sh",
            "-c",
            "echo '`reclone-model publish`, process 1' >\"$0\"; echo ready; read line",
        ])
        .arg(&lock)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut holder = match holder {
        Ok(holder) => holder,
        Err(error) => {
            eprintln!("SKIPPED: no flock: {error}");
            return;
        }
    };
    let mut ready = [0; 6];
    holder
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    let text = format!(
        "{} is in use by `reclone-model publish`, process 1; try again when that has ended",
        model.store_text()
    );
    model.publish(&[]).expect(1).says(&text);
    support::run(&["prune", "--keep", "1", &model.store_text()])
        .expect(1)
        .says(&text);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    model.publish(&[]).expect(0);
}
