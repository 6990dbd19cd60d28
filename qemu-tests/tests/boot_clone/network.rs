//! What the network namespaces of `agent/tests/network` can not have.

use qemu_tests::trunk::Trunk;

use crate::{Case, store_word};

#[test]
fn a_clone_follows_its_model_over_a_vlan_and_leaves_nothing_of_it() {
    let Some(case) = Case::new("vlan") else {
        return;
    };
    assert_eq!(case.publish("over a VLAN"), 2);
    let server = case.site.serve(&case.store).unwrap();
    let trunk = Trunk::start(7, &case.site.path("")).unwrap();
    let words = format!(
        "{} net.ifnames=0 vlan=eth0.7:eth0",
        store_word(server.url())
    );
    let machine = case.machine(&words).with_network(&trunk.network());
    case.boot_machine(machine, |machine, facts| {
        facts.assert_runs(2);
        assert_eq!(facts.get("version"), "over a VLAN");
        let up = "reclone: the network is up on eth0.7 after";
        assert!(facts.log().contains(up), "{}", facts.log());
        assert_eq!(machine.report("ls /sys/class/net").unwrap(), "eth0\nlo\n");
    });
}
