//! Two agents at once: one works, the others say so at once, and nothing is damaged. `agent/tests/interrupted` has the verbs
//! beside a sync that stands still.

use std::process::Stdio;

use crate::disk::Clone;
use crate::faulty_disk::possible;
use crate::mounts::is_root;

#[test]
fn of_many_agents_at_once_each_does_its_work_or_says_who_does() {
    if !is_root() || !possible() {
        return;
    }
    let clone = Clone::new(48);
    let busy = format!(
        "ERROR [reclone] {}: another reclone works on this pool; try again when it is done\n",
        clone.site().pool.display()
    );
    let (mut done, mut refused) = (0, 0);
    for version in 2..=6 {
        clone.versions.publish(version);
        let site = clone.site();
        let verbs = [
            site.sync(),
            site.sync(),
            site.verb("verify"),
            site.sync(),
            site.verb("prune"),
            site.sync(),
        ];
        let start = |mut verb: std::process::Command| {
            verb.stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let agents = verbs.map(start);
        for agent in agents {
            let output = agent.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            match output.status.code() {
                Some(0) => done += 1,
                Some(7) => {
                    assert_eq!(said, busy);
                    refused += 1;
                }
                other => panic!("{other:?}: {said}"),
            }
        }
        clone.versions.goes_on(version);
    }
    assert!(done >= 5 && refused > 0, "{done} {refused}");
}
