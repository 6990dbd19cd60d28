//! What a person in front of a clone sees while it becomes one: how far it is, how fast, and how long it will take.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use qemu_tests::image::run;
use qemu_tests::initramfs::System;
use qemu_tests::machine::{FIRMWARE, Machine};
use qemu_tests::screen::Screen;
use qemu_tests::server::StallingServer;
use qemu_tests::site::{Site, store_word};

/// Starts a first clone whose server stops half way, and waits until the screen shows these.
fn shows(site: &Site, options: &[&str], words: &str, wanted: &[&str]) {
    // What the plain root has not, and more than half of the pack: wherever it is, a part of it comes and another does not.
    run(Command::new("dd")
        .args(["if=/dev/urandom", "bs=1M", "count=200", "status=none"])
        .arg(format!("of={}/opt/new", site.model.root().display())))
    .unwrap();
    assert_eq!(site.publish().unwrap(), 1);
    site.copy("plain.img", "clone.img").unwrap();
    let server = StallingServer::start(&site.store()).unwrap();
    let file = site.path("clone.img");
    let _machine = site
        .machine("clone.img")
        .words(&format!("{} {words}", store_word(server.url())))
        .with_options(&Screen::options(&file))
        .with_options(options)
        .start()
        .unwrap();
    let mut screen = Screen::of(&file).unwrap();
    println!(
        "{}",
        screen.expect(wanted, Duration::from_secs(200)).unwrap()
    );
}

#[test]
fn the_console_shows_how_far_a_first_clone_is() {
    if !Machine::available() {
        return;
    }
    let site = Site::create(System::DEFAULT, "screen").unwrap();
    // The last console named is the one for messages. Its percent sign and single letters are not read reliably.
    let wanted = ["reclone: asking", "MiB of", " left"];
    shows(&site, &[], "console=tty0 quiet", &wanted);
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn plymouth_shows_how_far_a_first_clone_is() {
    if !Machine::available() {
        return;
    }
    let packages = ["plymouth", "plymouth-themes", "plymouth-label"];
    let site = Site::prepare(System::DEFAULT, "splash", &packages, |tree| {
        tree.write(
            "etc/plymouth/plymouthd.conf",
            "[Daemon]\nTheme=spinner\nShowDelay=0\n",
        )?;
        tree.write("etc/initramfs-tools/conf.d/splash", "FRAMEBUFFER=y\n")
    })
    .unwrap();
    // The kernel's only graphics here are those of the firmware. Plymouth leaves machines with a serial console alone.
    let words = "console=tty0 quiet splash plymouth.ignore-serial-consoles";
    let options = ["-machine", "q35", "-drive", FIRMWARE];
    shows(&site, &options, words, &["% ", "MiB of", " left"]);
}
