//! OSTree: a pull into a bare repository, and a checkout of hard links, which is what a deployment is. With static deltas or
//! without; both from one repository. It keeps no times of files.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::site::Address;
use super::{Operation, Peer, Place, Renewed, State};
use crate::measure::{measure, shell, version};
use crate::trees::remove;

pub struct Ostree {
    pub place: Place,
    pub tree: Renewed,
    pub deltas: bool,
}

impl Ostree {
    fn checkout(&self) -> String {
        format!(
            "ostree --repo={}/repo checkout -H o:newest {}",
            self.place.client.display(),
            self.tree.next(&self.place).display()
        )
    }
}

impl Peer for Ostree {
    fn name(&self) -> &'static str {
        match self.deltas {
            true => "ostree-delta",
            false => "ostree",
        }
    }

    fn version(&self) -> io::Result<String> {
        version("ostree")
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn can(&self, operation: Operation) -> bool {
        !self.deltas || matches!(operation, Operation::Update | Operation::Small)
    }

    fn publish(&self, state: State) -> Option<Command> {
        let (repo, name) = (self.place.server.display(), state.name());
        if self.deltas {
            let before = state.before()?.name();
            let script = format!(
                "ostree --repo={repo} static-delta generate --from={before} --to={name} > /dev/null 2>&1"
            );
            return Some(shell(script.as_ref()));
        }
        let tree = self.place.trees.path(state);
        let script = format!(
            "[ -e {repo}/config ] || ostree --repo={repo} init --mode=archive; \
             ostree --repo={repo} commit --branch={name} --no-bindings --tree=dir={} > /dev/null; \
             ostree --repo={repo} summary -u",
            tree.display()
        );
        Some(shell(script.as_ref()))
    }

    fn clear(&self) -> io::Result<()> {
        let server = &self.place.server;
        if self.deltas {
            return remove(&server.join("deltas"));
        }
        remove(server)?;
        std::fs::create_dir_all(server)
    }

    fn offer(&self, state: State) -> io::Result<()> {
        let (repo, name) = (self.place.server.display(), state.name());
        let script = format!(
            "ostree --repo={repo} refs --force --create=newest {name}; ostree --repo={repo} summary -u"
        );
        measure(&shell(script.as_ref())).map(|_| ())
    }

    fn begin(&self) -> io::Result<()> {
        let client = self.place.client.display();
        let script = format!(
            "ostree --repo={client}/repo init --mode=bare; \
             ostree --repo={client}/repo remote add --no-gpg-verify o http://127.0.0.1"
        );
        measure(&shell(script.as_ref())).map(|_| ())
    }

    fn fetch(&self, _state: State, address: &Address) -> Command {
        let client = self.place.client.display();
        let flag = if self.deltas {
            ""
        } else {
            "--disable-static-deltas"
        };
        let script = format!(
            "known={client}/repo/refs/remotes/o/newest; old=$(cat $known 2>/dev/null || true); \
             ostree --repo={client}/repo pull {flag} --url={}/ostree o newest > /dev/null; \
             [ \"$old\" = \"$(cat $known)\" ] || {}",
            address.http,
            self.checkout()
        );
        shell(script.as_ref())
    }

    fn restore(&self, _address: &Address) -> Command {
        shell(self.checkout().as_ref())
    }

    fn settle(&self) -> io::Result<()> {
        self.tree.settle(&self.place)
    }

    fn tree(&self) -> PathBuf {
        self.tree.current(&self.place)
    }

    fn keeps_times(&self) -> bool {
        false
    }
}
