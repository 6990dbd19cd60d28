//! The same boots on every system: Debian suites, each with every kind of initramfs. One disk goes through all cases in
//! their order, so that each begins with what the one before it left.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::facts::Facts;
use crate::initramfs::{Initramfs, System};
use crate::machine::Machine;
use crate::pool::{VERIFY, objects};
use crate::server::Server;
use crate::site::{Site, store_word};

/// Every system that is tested.
pub const SYSTEMS: [System; 9] = {
    use Initramfs::{Dracut, DracutPlain, Tools};
    const fn on(suite: &'static str, initramfs: Initramfs) -> System {
        System { suite, initramfs }
    }
    [
        on("bookworm", Tools),
        on("bookworm", Dracut),
        on("bookworm", DracutPlain),
        on("trixie", Tools),
        on("trixie", Dracut),
        on("trixie", DracutPlain),
        on("forky", Tools),
        on("forky", Dracut),
        on("forky", DracutPlain),
    ]
};

type Case = fn(&mut Chain) -> io::Result<()>;

/// Every case, in the order in which a disk goes through them.
const CASES: [(&str, Case); 7] = [
    ("first clone", first_clone),
    ("no change, drift gone", no_change),
    ("update", update),
    ("server gone", server_gone),
    ("reset", reset),
    ("off", off),
    ("rescue shell", rescue_shell),
];

/// The names of all cases, in their order.
pub fn cases() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

/// What somebody with root's rights does to the clone in its first session.
const DRIFT: &str =
    "echo drift >>/etc/issue; rm /etc/debian_version; mkdir /opt/drift; chmod 700 /usr/bin/env";
/// What is left of that.
const FIND_DRIFT: &str = "grep -c drift /etc/issue; ls /etc/debian_version; ls -d /opt/drift 2>&1; stat -c %a /usr/bin/env";

/// How a case ended: nothing, or what was wrong.
pub type Outcome = (&'static str, Result<(), String>);

const DISK: &str = "clone.img";

/// A clone on its way through the cases.
struct Chain {
    site: Site,
    server: Option<Server>,
    port: u16,
}

/// Takes one clone through every case, or through those that `wanted` says yes to. A case that fails is no reason not to
/// try the next.
pub fn run(system: System, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Outcome>> {
    let site = Site::create(system, &system.to_string())?;
    assert_eq!(site.publish()?, 1);
    site.copy("plain.img", DISK)?;
    let server = site.serve(&site.store())?;
    let mut chain = Chain {
        port: server.port(),
        server: Some(server),
        site,
    };
    let mut outcomes = Vec::new();
    for (name, case) in CASES.into_iter().filter(|(name, _)| wanted(name)) {
        println!("### {system}: {name}");
        let result = match catch_unwind(AssertUnwindSafe(|| case(&mut chain))) {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(panic) => Err(said(&*panic)),
        };
        outcomes.push((name, result));
    }
    if outcomes.iter().any(|(_, result)| result.is_err()) {
        chain.site.keep();
    }
    Ok(outcomes)
}

fn said(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

impl Chain {
    /// Boots with these words, does `work` once the system is up, and powers off.
    fn boot(
        &self,
        words: &str,
        work: impl FnOnce(&mut Machine, &Facts) -> io::Result<()>,
    ) -> io::Result<()> {
        let store = store_word(&Server::url_at(self.port));
        let mut machine = self
            .site
            .machine(DISK)
            .words(&format!("{store} {words}"))
            .start()?;
        let facts = Facts::once_up(&mut machine)?;
        work(&mut machine, &facts)?;
        facts.power_off(machine, &self.site.path(DISK))
    }

    fn requests(&self) -> io::Result<Vec<String>> {
        self.server
            .as_ref()
            .map_or(Ok(Vec::new()), Server::requests)
    }
}

fn first_clone(chain: &mut Chain) -> io::Result<()> {
    chain.boot("", |machine, facts| {
        facts.assert_runs(1);
        assert_eq!(
            (facts.get("version"), facts.get("hostname")),
            ("1", "clone")
        );
        // The objects are no part of the tree; before Linux 6.5 they are hidden by the image.
        assert_eq!(machine.report("ls -d /[0-9a-f][0-9a-f] 2>/dev/null")?, "");
        machine.report(DRIFT).map(drop)
    })
}

fn no_change(chain: &mut Chain) -> io::Result<()> {
    let before = chain.requests()?.len();
    chain.boot("", |machine, facts| {
        facts.assert_runs(1);
        let found = machine.report(FIND_DRIFT)?;
        let expected = "0\n/etc/debian_version\nls: cannot access '/opt/drift': No such file or directory\n755\n";
        assert_eq!(found, expected);
        Ok(())
    })?;
    assert_eq!(chain.requests()?[before..], ["GET /head"]);
    Ok(())
}

fn update(chain: &mut Chain) -> io::Result<()> {
    chain.site.model.write("etc/model-version", "2\n")?;
    assert_eq!(chain.site.publish()?, 2);
    chain.boot("", |_, facts| {
        facts.assert_runs(2);
        assert_eq!(facts.get("version"), "2");
        Ok(())
    })
}

fn server_gone(chain: &mut Chain) -> io::Result<()> {
    chain.server = None;
    chain.boot("reclone.timeout=5", |_, facts| {
        facts.assert_runs(2);
        let warning = "reclone: warning: http://10.0.2.2:";
        assert!(facts.log().contains(warning), "{}", facts.log());
        Ok(())
    })?;
    chain.server = Some(chain.site.serve_at(&chain.site.store(), chain.port)?);
    Ok(())
}

fn reset(chain: &mut Chain) -> io::Result<()> {
    let disk = chain.site.path(DISK);
    let found = objects(&disk)?;
    let damaged = found.iter().find(|object| object.size > 4096);
    let damaged = damaged.expect("a Debian has files of more than a block");
    damaged.damage(&disk)?;
    chain.boot("reclone=reset", |machine, facts| {
        facts.assert_runs(2);
        let line = format!("{} is damaged or missing", damaged.path);
        assert!(facts.log().contains(&line), "{}", facts.log());
        let verified = machine.report(VERIFY)?;
        assert!(verified.ends_with(" objects are whole\n"), "{verified}");
        Ok(())
    })
}

fn off(chain: &mut Chain) -> io::Result<()> {
    chain.boot("reclone=off", |machine, facts| {
        facts.assert_well();
        assert_eq!((facts.get("root"), facts.get("version")), ("ext4", ""));
        assert_eq!(
            machine.report("cat /etc/only-on-the-plain-disk")?,
            "plain\n"
        );
        Ok(())
    })
}

/// A third generation is fetched by hand.
fn rescue_shell(chain: &mut Chain) -> io::Result<()> {
    chain.site.model.write("etc/model-version", "3\n")?;
    assert_eq!(chain.site.publish()?, 3);
    let initramfs = chain.site.system.initramfs;
    let words = format!("reclone=off {}", initramfs.break_word());
    let mut machine = chain
        .site
        .machine(DISK)
        .words(&words)
        .with_shell()
        .start()?;
    initramfs.enter_shell(&mut machine.console)?;
    let mut ask = |command: &str| -> io::Result<String> {
        let answer = machine.report(command)?;
        println!("## {command}\n{answer}");
        Ok(answer)
    };
    let root = initramfs.root();
    let status = ask("reclone status")?;
    assert!(status.contains("current:    generation 2 ("), "{status}");
    ask(&format!("mount -o remount,rw {root}"))?;
    let url = Server::url_at(chain.port);
    let synced = ask(&format!("modprobe virtio_net; reclone sync --store {url}"))?;
    assert!(synced.contains("generation 3 is current: "), "{synced}");
    let tree = ask(
        "mkdir /look; reclone assemble --session none /look; cat /look/etc/model-version; umount /look",
    )?;
    assert!(tree.ends_with("3\n"), "{tree}");
    // dracut's shell has more mounted below it, so it can not be unmounted there.
    ask(&format!("mount -o remount,ro {root}"))?;
    machine.console.send("poweroff -f")?;
    machine.console.drain()?;
    assert!(crate::image::is_clean(&chain.site.path(DISK))?);
    Ok(())
}
