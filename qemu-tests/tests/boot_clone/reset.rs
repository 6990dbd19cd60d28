//! `reclone=reset`: every object is checked, what is damaged is fetched again.

use qemu_tests::pool::{VERIFY, objects};

use crate::{Case, store_word};

#[test]
fn a_reset_mends_damaged_and_missing_objects() {
    let Some(case) = Case::new("reset") else {
        return;
    };
    let disk = case.disk_path();
    let found = objects(&disk).unwrap();
    let mut whole = found.iter().filter(|object| object.size > 4096);
    let (damaged, missing) = (whole.next().unwrap(), whole.next().unwrap());
    damaged.damage(&disk).unwrap();
    missing.remove(&disk).unwrap();
    let server = case.site.serve(&case.store).unwrap();
    case.boot(
        &format!("{} reclone=reset", store_word(server.url())),
        |machine, facts| {
            facts.assert_runs(1);
            for object in [damaged, missing] {
                let line = format!(
                    "reclone: warning: /run/reclone/disk{} is damaged or missing",
                    object.path
                );
                assert!(
                    facts.log().contains(&line),
                    "no `{line}` in:\n{}",
                    facts.log()
                );
            }
            let verified = machine.report(VERIFY).unwrap();
            assert!(verified.ends_with(" objects are whole\n"), "{verified}");
        },
    );
}
