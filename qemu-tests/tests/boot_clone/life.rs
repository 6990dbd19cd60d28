//! The life of a clone: nothing new, something new, back, and without the server.

use qemu_tests::server::Server;

use crate::{Case, MACHINE_ID, SMALL, assert_is_small, store_word};

/// Brings the network up, which this small system does not do by itself, and does what the timer would do.
const SYNC_IN_BACKGROUND: &str =
    "d=$(ls /sys/class/net | grep -v lo); ip link set $d up; ip addr add 10.0.2.15/24 dev $d
systemctl cat reclone-sync.timer >/dev/null && systemctl start reclone-sync.service
while systemctl is-active --quiet reclone-sync.service; do sleep 0.2; done
/run/initramfs/reclone status --json";

#[test]
fn a_clone_follows_its_model_from_boot_to_boot() {
    let Some(case) = Case::new("life") else {
        return;
    };
    let server = case.site.serve(&case.store).unwrap();
    let store = store_word(server.url());
    nothing_new(&case, &store, &server);
    something_new(&case, &store);
    back_and_not_now(&case, &store, &server);
    without_the_server(&case, &store, server);
    off(&case, &store);
}

/// One request. What root did to the first session is gone; the clone's identity is not.
fn nothing_new(case: &Case, store: &str, server: &Server) {
    case.boot(store, |machine, facts| {
        facts.assert_runs(1);
        assert_eq!(server.requests().unwrap(), ["GET /head"]);
        let drift = "grep -c drift /etc/issue; ls /opt/drift; stat -c %a /usr/bin/env; cat /etc/debian_version >/dev/null && \
            whoami; grep -c ^root:: /etc/shadow; cat /etc/ssh/ssh_host_ed25519_key | head -1; grep -c virtio-root /etc/fstab";
        let found = machine.report(drift).unwrap();
        let expected = "0\nls: cannot access '/opt/drift': No such file or directory\n755\nroot\n0\n\
            -----BEGIN OPENSSH PRIVATE KEY-----\n1\n";
        assert_eq!(found, expected);
        machine.report("hostnamectl hostname renamed || echo renamed >/etc/hostname").unwrap();
    });
}

/// The model changed a file and added one. The clone's new name stays. 256 MiB are enough for that.
fn something_new(case: &Case, store: &str) {
    let model = case.model();
    let added = "usr/share/added";
    model.tree().write(added, "by the model\n").unwrap();
    assert_eq!(model.publish("2"), 2);
    drop(model);
    let small = case.machine(store).with_options(&SMALL);
    case.boot_machine(small, |machine, facts| {
        assert_is_small(machine);
        facts.assert_runs(2);
        assert_eq!(facts.get("version"), "2");
        assert_eq!(
            (facts.get("hostname"), facts.get("machine_id")),
            ("renamed", MACHINE_ID)
        );
        assert_eq!(
            machine.report("cat /usr/share/added").unwrap(),
            "by the model\n"
        );
        assert!(
            facts.get("status").contains("\"previous\":1"),
            "{}",
            facts.get("status")
        );
    });
}

/// Back, once; then not now, though the store has something newer. Neither asks it.
fn back_and_not_now(case: &Case, store: &str, server: &Server) {
    let asked = server.requests().unwrap().len();
    case.boot(&format!("{store} reclone=rollback"), |_, facts| {
        facts.assert_runs(1);
        assert_eq!(facts.get("version"), "1");
        assert!(
            facts.get("status").contains("\"current\":2"),
            "{}",
            facts.get("status")
        );
    });
    assert_eq!(case.publish("3"), 3);
    case.boot(&format!("{store} reclone=skip"), |_, facts| {
        facts.assert_runs(2);
        assert_eq!(facts.get("version"), "2");
    });
    assert_eq!(server.requests().unwrap().len(), asked);
}

/// The server is gone. Once it is back, the running system gets the generation for the next boot.
fn without_the_server(case: &Case, store: &str, server: Server) {
    let port = server.port();
    drop(server);
    case.boot(&format!("{store} reclone.timeout=5"), |machine, facts| {
        facts.assert_runs(2);
        assert!(
            facts.log().contains("reclone: warning: http://10.0.2.2:"),
            "{}",
            facts.log()
        );
        let _server = case.site.serve_at(&case.store, port).unwrap();
        let status = machine.report(SYNC_IN_BACKGROUND).unwrap();
        assert!(
            status.contains("\"current\":3") && status.contains("\"previous\":2"),
            "{status}"
        );
    });
}

/// As if reclone were not installed.
fn off(case: &Case, store: &str) {
    case.boot(&format!("{store} reclone=off"), |machine, facts| {
        facts.assert_well();
        assert_eq!(facts.get("root"), "ext4");
        assert_eq!(facts.get("version"), "");
        assert_eq!(
            machine.report("cat /etc/only-on-the-plain-disk").unwrap(),
            "plain\n"
        );
    });
}
