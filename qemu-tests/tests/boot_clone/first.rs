//! The first clone: a plainly installed disk becomes the model at its first boot.

use qemu_tests::machine::Machine;

use crate::{MACHINE_ID, prepared};

/// What somebody with root's rights does to the clone in its first session.
pub const DRIFT: &str = "echo drift >>/etc/issue
rm /etc/debian_version /usr/bin/whoami
mkdir /opt/drift
echo drift >/opt/drift/file
chmod 700 /usr/bin/env
passwd --delete root";

#[test]
fn a_plain_disk_becomes_the_model_and_stays_itself() {
    if !Machine::available() {
        return;
    }
    let facts = &prepared().first;
    facts.assert_runs(1);
    assert_eq!(facts.get("version"), "1");
    assert_eq!(facts.get("hostname"), "clone");
    assert_eq!(facts.get("machine_id"), MACHINE_ID);
    assert!(
        facts.log().contains("generation 1 is new:"),
        "{}",
        facts.log()
    );
    let status = facts.get("status");
    for part in [
        "\"current\":1",
        "\"previous\":null",
        "\"trial\":null",
        "\"store\":\"http://10.0.2.2:",
    ] {
        assert!(status.contains(part), "no {part} in {status}");
    }
    let requests = &prepared().requests;
    assert_eq!(requests[0], "GET /head");
    assert!(
        requests[1..]
            .iter()
            .all(|request| request.starts_with("GET /packs/")),
        "{requests:?}"
    );
}
