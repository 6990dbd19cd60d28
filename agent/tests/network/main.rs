//! Clones that boot over real networks: DHCP, names, routers and stores in network namespaces, each with a wire to the
//! clone. In every case the clone boots, and says in one line why where it did not update. Needs root.

#![allow(clippy::unwrap_used)]

#[path = "../support/certificates.rs"]
mod certificates;
mod clone;
#[path = "../support/hosts.rs"]
mod hosts;
#[path = "../support/initramfs.rs"]
mod initramfs;
#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/server.rs"]
mod server;

mod disks;
mod links;
mod sticks;
mod stores;

use std::path::Path;

use clone::{Clone, base};
use hosts::{Daemon, Dnsmasq, Host};

/// The model's host, which is the clone's server for everything.
const MODEL: &str = "192.0.2.1";
const PORT: u16 = 8080;
const DHCP: &str = "--dhcp-range=192.0.2.100,192.0.2.199,1h";
const NAME: &str = "--address=/model.lab/192.0.2.1";

/// Two hosts with a wire between them, and a folder for what servers write.
struct Lab {
    model: Host,
    clone: Host,
    folder: tempfile::TempDir,
}

impl Lab {
    /// The model's end of the wire, `end`, is up at [`MODEL`]; the clone's, `wire`, is off.
    fn new() -> Self {
        let lab = Self {
            model: Host::new(),
            clone: Host::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        lab.clone.connect("wire", &lab.model, "end");
        lab.model
            .ip(&["addr", "add", &format!("{MODEL}/24"), "dev", "end"]);
        lab.model.ip(&["link", "set", "end", "up"]);
        lab
    }

    fn dnsmasq(&self, options: &[&str]) -> Dnsmasq {
        Dnsmasq::start(&self.model, "end", options, self.folder.path())
    }

    /// `reclone-model serve` of the store with generation 2, at this address of the model's.
    fn serve(&self, address: &str) -> Daemon {
        self.serve_store(address, &base().site.store)
    }

    /// The same of this store.
    fn serve_store(&self, address: &str, store: &Path) -> Daemon {
        let address = format!("{address}:{PORT}");
        let program = programs::reclone_model();
        let mut command = self.model.command(Path::new(program.get_program()));
        command.arg("serve").arg(store);
        command.args(["--listen", &address]);
        let daemon = Daemon::start(&mut command, &self.folder.path().join("serve.log"));
        self.model.wait_for_server(&address);
        daemon
    }

    /// A clone of a store at this host.
    fn clone_of(&self, host: &str) -> Clone<'_> {
        self.clone_with(host, "timeout = 30")
    }

    fn clone_with(&self, host: &str, config: &str) -> Clone<'_> {
        Clone::new(&self.clone, &format!("http://{host}:{PORT}"), config)
    }

    /// Fails unless every link of the clone is as it was before: off, without addresses, and nothing new.
    fn assert_links_are_untouched(&self, names: &[&str]) {
        let said = self.clone.ip(&["-brief", "address"]);
        let mut links: Vec<&str> = said
            .lines()
            .filter(|line| !line.starts_with("lo "))
            .collect();
        links.sort_unstable();
        assert_eq!(links.len(), names.len(), "{said}");
        for (link, name) in links.iter().zip(names) {
            let words: Vec<&str> = link.split_ascii_whitespace().collect();
            let found = words[0].split('@').next();
            assert_eq!((found, &words[1..]), (Some(*name), &["DOWN"][..]), "{said}");
        }
    }
}

/// Whether this test can run here.
fn possible() -> bool {
    mounts::is_root() && hosts::has("dnsmasq") && hosts::has("unshare")
}
