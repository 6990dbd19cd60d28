//! A store whose making, and a publish that does not come to its end: killed at any write, out of disk space, or met by another one. Whatever
//! happens, `head` names a whole generation, and the next publish works.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use support::{Model, Mounted, PROGRAM, Ran, names, noise, run};

/// The calls that can leave something behind, and none that reading needs.
const CALLS: [&str; 5] = ["rename", "fsync", "ftruncate", "pwrite64", "fchmod"];

#[test]
fn a_store_whose_making_was_cut_short_is_made_by_the_next_run() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: no strace");
        return;
    }
    let mut killed = 0;
    for call in [
        "mkdir", "chmod", "openat", "write", "fchmod", "fsync", "rename",
    ] {
        for count in 1.. {
            let model = Model::without_store();
            let init = ["init", &model.store_text(), "--key", &model.key_text()];
            let ran = killed_at(Command::new(PROGRAM).args(init), call, count);
            let done = ran.code == Some(0);
            let whole = model.store().join(".reclone-model/store").exists();
            assert!(whole || !done);
            // What is whole is refused as ever.
            run(&init).expect(i32::from(whole));
            model.write("file", "x");
            assert_eq!(model.publish(&[]).generation(), 1, "{call} {count}");
            model.verify().expect(0);
            if done {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed >= 20, "only {killed} points were tried");
}

#[test]
fn a_folder_with_anything_of_its_own_is_no_store_that_was_begun() {
    for file in ["mine", "packs/mine", "heads/1", ".reclone-model/lock"] {
        let model = Model::without_store();
        for folder in ["packs", "heads", ".reclone-model/temp"] {
            fs::create_dir_all(model.store().join(folder)).unwrap();
        }
        fs::write(model.store().join(file), "").unwrap();
        run(&["init", &model.store_text(), "--key", &model.key_text()])
            .expect(1)
            .says("is not empty; a new store needs a new or an empty folder");
        assert!(model.store().join(file).exists());
    }
}

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
            let publishing = model.publishing(&["--effort", "low"]);
            let ran = killed_at(&publishing, call, count);
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

/// Runs a command that is killed when it enters a system call for the `count`th time.
fn killed_at(command: &Command, call: &str, count: u64) -> Ran {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=SIGKILL:when={count}")]);
    strace.arg(command.get_program()).args(command.get_args());
    strace.output().unwrap().into()
}

#[test]
fn a_full_disk_leaves_the_old_generation_in_place() {
    let model = Model::without_store();
    let _disk = Mounted::new(model.store(), &["-t", "tmpfs", "-o", "size=2m", "none"]);
    run(&["init", &model.store_text(), "--key", &model.key_text()]).expect(0);
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
    run(&["prune", "--keep", "1", &model.store_text()])
        .expect(1)
        .says(&text);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    model.publish(&[]).expect(0);
}
