//! Debian 12: kernel 6.1 has no data-only layers, so the objects are an ordinary lower layer, hidden by the image.
#![allow(clippy::unwrap_used)]

use qemu_tests::facts::Facts;
use qemu_tests::image::is_clean;
use qemu_tests::machine::Machine;
use qemu_tests::site::Site;

#[test]
fn a_clone_with_kernel_6_1_becomes_the_model_and_follows_it() {
    if !Machine::available() {
        return;
    }
    let site = Site::create("bookworm", "bookworm").unwrap();
    assert_eq!(site.publish().unwrap(), 1);
    let disk = site.copy("plain.img", "clone.img").unwrap();
    let server = site.serve(&site.store()).unwrap();
    let store = format!("reclone.store={}", server.url());
    for generation in 1..=2 {
        let mut machine = site.start("clone.img", &store).unwrap();
        machine.log_in().unwrap();
        let facts = Facts::of(&mut machine).unwrap();
        println!("{facts}");
        facts.assert_runs(generation);
        let seen = machine
            .report("uname -r | cut -d. -f1-2; ls -d /[0-9a-f][0-9a-f] 2>/dev/null; grep -c :: /proc/mounts; cat /etc/drift")
            .unwrap();
        assert_eq!(seen, "6.1\n0\ncat: /etc/drift: No such file or directory\n");
        machine.report("echo drift >/etc/drift").unwrap();
        machine.power_off().unwrap();
        assert!(is_clean(&disk).unwrap(), "the disk was left unclean");
        site.model.write("etc/model-version", "2\n").unwrap();
        site.publish().unwrap();
    }
}
