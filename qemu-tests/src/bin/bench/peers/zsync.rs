//! zsync: the tree as one tar file, of which a client that has the old one fetches ranges. The new tar file is the end of it:
//! unpacking is not measured.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::site::Address;
use super::{Operation, Peer, Place, State};
use crate::measure::{shell, version};

pub struct Zsync {
    pub place: Place,
}

impl Peer for Zsync {
    fn name(&self) -> &'static str {
        "zsync"
    }

    fn version(&self) -> io::Result<String> {
        version("zsync")
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn can(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    fn publish(&self, state: State) -> Option<Command> {
        let (tree, name) = (self.place.trees.path(state), state.name());
        let script = format!(
            "cd {}; tar --sort=name --xattrs --xattrs-include='*' -C {} -cf {name}.tar .; zsyncmake -u {name}.tar -o {name}.tar.zsync {name}.tar",
            self.place.server.display(),
            tree.display()
        );
        (state <= State::Updated).then(|| shell(script.as_ref()))
    }

    fn begin(&self) -> io::Result<()> {
        let old = self.place.server.join("release.tar");
        fs::copy(old, self.place.client.join("old.tar")).map(|_| ())
    }

    fn fetch(&self, state: State, address: &Address) -> Command {
        // The first state is what `begin` left.
        let script = match state {
            State::Release => "true".to_owned(),
            _ => format!(
                "cd {}; zsync -q -i old.tar -o new.tar {}/zsync/{}.tar.zsync > /dev/null",
                self.place.client.display(),
                address.http,
                state.name()
            ),
        };
        shell(script.as_ref())
    }

    fn tree(&self) -> PathBuf {
        self.place.client.join("unpacked")
    }

    fn with_tree(
        &self,
        _writable: bool,
        look: &mut dyn FnMut(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let tree = self.tree();
        let name = ["new.tar", "old.tar"].map(|name| self.place.client.join(name));
        let tar = name.iter().find(|path| path.exists()).expect("begun");
        fs::create_dir(&tree)?;
        let status = Command::new("tar")
            .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-C"])
            .arg(&tree)
            .arg("-xf")
            .arg(tar)
            .status()?;
        assert!(status.success(), "{} is no archive", tar.display());
        look(&tree)?;
        fs::remove_dir_all(tree)
    }
}
