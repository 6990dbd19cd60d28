//! `reclone=reset`: every object is checked, what is damaged is fetched again.

use std::path::Path;
use std::process::Command;

use qemu_tests::image::run;

use crate::{Case, store_word};

/// Runs debugfs on a disk that is not mounted.
fn debugfs(disk: &Path, request: &str) -> String {
    run(Command::new("debugfs")
        .args(["-w", "-R", request])
        .arg(disk))
    .unwrap()
}

/// The objects in one folder of the pool, with their sizes.
fn objects(disk: &Path, folder: &str) -> Vec<(String, u64)> {
    let listing = debugfs(disk, &format!("ls -p /reclone/objects/{folder}"));
    // inode, mode, owner, group, name, size between slashes
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split('/').collect();
        let size = fields.get(6)?.parse().ok()?;
        Some((
            format!("/reclone/objects/{folder}/{}", fields.get(5)?),
            size,
        ))
    };
    listing
        .lines()
        .filter_map(parse)
        .filter(|(name, _)| !name.ends_with('.'))
        .collect()
}

#[test]
fn a_reset_mends_damaged_and_missing_objects() {
    let Some(case) = Case::new("reset") else {
        return;
    };
    let disk = case.disk_path();
    let found: Vec<_> = (0..=255)
        .flat_map(|byte: u8| objects(&disk, &format!("{byte:02x}")))
        .collect();
    let mut whole = found.iter().filter(|(_, size)| *size > 4096);
    let (damaged, missing) = (&whole.next().unwrap().0, &whole.next().unwrap().0);
    debugfs(&disk, &format!("zap_block -f {damaged} -p 165 0"));
    debugfs(&disk, &format!("rm {missing}"));
    let server = case.site.serve(&case.store).unwrap();
    case.boot(
        &format!("{} reclone=reset", store_word(server.url())),
        |machine, facts| {
            facts.assert_runs(1);
            for path in [damaged, missing] {
                let path = path.trim_start_matches('/');
                let line =
                    format!("reclone: warning: /run/reclone/disk/{path} is damaged or missing");
                assert!(
                    facts.log().contains(&line),
                    "no `{line}` in:\n{}",
                    facts.log()
                );
            }
            let verified = machine.report("/run/initramfs/reclone verify").unwrap();
            assert!(verified.ends_with(" objects are whole\n"), "{verified}");
        },
    );
}
