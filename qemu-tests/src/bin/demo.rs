//! `make demo`: a model is published and served, a plainly installed clone boots, the model changes, the clone boots
//! again; at the end a few plain lines say what happened. The clone's console is shown as it comes.

use std::io;
use std::time::{Duration, Instant};

use qemu_tests::facts::Facts;
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::server::Server;
use qemu_tests::site::Site;

/// The clone's disk.
const DISK: &str = "clone.img";

/// One boot of the clone, as the end tells it.
struct Told {
    what: &'static str,
    version: String,
    agent: String,
    requests: usize,
    on: Duration,
}

fn main() -> io::Result<()> {
    if !Machine::available() {
        return Err(io::Error::other("The demo needs QEMU: run `make setup`"));
    }
    let started = Instant::now();
    heading("a Debian tree becomes a plain clone disk and, with another identity, the model");
    let mut site = Site::create(System::DEFAULT, "demo")?.shown();
    site.keep();
    site.copy("plain.img", DISK)?;
    heading("the model is published");
    site.publish()?;
    let server = site.serve(&site.store())?;
    let mut told = vec![
        boot(&site, &server, "The first boot of a plain disk")?,
        boot(&site, &server, "A boot with nothing new")?,
    ];
    heading("the model changes, and is published again");
    site.model.write("etc/model-version", "2\n")?;
    site.model
        .write("etc/motd", "Welcome to the second generation.\n")?;
    site.publish()?;
    told.push(boot(&site, &server, "A boot after the model changed")?);
    heading("what happened");
    for boot in &told {
        println!("{}: {}.", boot.what, boot.agent);
        println!(
            "    It asked the server {} times; the machine was on for {} s; /etc/model-version says {}.",
            boot.requests,
            boot.on.as_secs(),
            boot.version
        );
    }
    println!(
        "All of it took {} s, without KVM.",
        started.elapsed().as_secs()
    );
    println!(
        "The store and the clone's disk are in {}.",
        site.path("").display()
    );
    Ok(())
}

fn heading(text: &str) {
    println!("\n=== {text}\n");
}

fn boot(site: &Site, server: &Server, what: &'static str) -> io::Result<Told> {
    heading(what);
    let before = server.requests()?.len();
    let mut machine = site
        .machine(DISK)
        .words(&format!("reclone.store={}", server.url()))
        .start()?;
    machine.log_in()?;
    let facts = Facts::of(&mut machine)?;
    Ok(Told {
        what,
        version: facts.get("version").to_owned(),
        agent: agent_says(facts.log()),
        requests: server.requests()?.len() - before,
        on: machine.power_off()?.on,
    })
}

/// The two lines of the boot's log that matter: what came, and what boots.
fn agent_says(log: &str) -> String {
    let says = |words: &[&str]| {
        let line = log
            .lines()
            .find(|line| words.iter().any(|word| line.contains(word)));
        line.map_or("", |line| line.trim_start_matches("reclone: "))
            .to_owned()
    };
    let came = says(&["is new:", "is the newest", "warning: "]);
    format!("{came}; {}", says(&["booting generation"]))
}
