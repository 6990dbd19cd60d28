//! Which paths of the tree are left out: a built-in list, the tree's own `/etc/reclone/exclude`, and what its `/etc/reclone/policy` says:
//! `exclude` leaves a path out with all below it; of what clones `keep`, folders are published empty and files not at all.
//!
//! The first two have one glob a line, `#` begins a comment line. `*` and `?` stay within one name, `**` does not. With a `/` at its start or
//! inside, a glob is meant from the top of the tree; without, it is meant for a name in any folder. With a `/` at its end it
//! leaves the folder itself in place and its contents out.

use std::path::{Path, PathBuf};

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use reclone_format::{Policy, Rule, TreePath};

use crate::error::{Error, Result};

/// Where a tree keeps its own list.
pub const FILE: &str = "etc/reclone/exclude";

/// What is never published. In the words of the file, so that the help can show it.
pub const BUILT_IN: &str = "\
# not files of the disk, or gone at the next boot
/proc/
/sys/
/dev/
/run/
/tmp/
/var/tmp/
# this disk's own
/lost+found
/swapfile
/swap.img
/reclone
# secrets and state of this one machine
/etc/ssh/ssh_host_*_key
/etc/ssh/ssh_host_*_key.pub
/var/lib/systemd/random-seed
/var/lib/systemd/credential.secret
/var/lib/dhcp/*.leases
/var/lib/dhcpcd/*.lease
/var/lib/NetworkManager/*.lease
/var/lib/NetworkManager/secret_key
/var/lib/NetworkManager/timestamps
# fetched and made again when needed
/var/cache/apt/archives/*.deb
/var/cache/apt/archives/partial/
/var/cache/apt/pkgcache.bin
/var/cache/apt/srcpkgcache.bin
";

/// What to do with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Publish it.
    Keep,
    /// Publish the folder itself, but nothing in it.
    Hollow,
    /// Leave it out, with everything below.
    LeaveOut,
}

/// The rules of one publish.
#[derive(Debug)]
pub struct Exclude {
    out: GlobSet,
    hollow: GlobSet,
    policy: Policy,
}

impl Exclude {
    /// The built-in list, and the lines of the tree's own file, whose name is `file` in messages.
    pub fn new(own: Option<(&Path, &[u8])>) -> Result<Self> {
        let mut rules = Rules {
            file: PathBuf::from("built-in list"),
            out: GlobSetBuilder::new(),
            hollow: GlobSetBuilder::new(),
        };
        rules.add(BUILT_IN.as_bytes())?;
        if let Some((file, text)) = own {
            rules.file = file.to_owned();
            rules.add(text)?;
        }
        let file = rules.file;
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|error| Error::Exclude {
                file: file.clone(),
                line: 0,
                reason: error.to_string(),
            })
        };
        Ok(Self {
            out: build(rules.out)?,
            hollow: build(rules.hollow)?,
            policy: Policy::default(),
        })
    }

    /// The same, with the rules of the tree's policy.
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// What the rules say about `path`.
    pub fn verdict(&self, path: &TreePath, is_folder: bool) -> Verdict {
        let candidate = Candidate::new(path.as_path());
        if self.out.is_match_candidate(&candidate) {
            Verdict::LeaveOut
        } else if self.hollow.is_match_candidate(&candidate) {
            Verdict::Hollow
        } else {
            self.policy_verdict(path, is_folder)
        }
    }

    /// A clone mounts what it keeps at a folder of the model's; that must be there.
    fn policy_verdict(&self, path: &TreePath, is_folder: bool) -> Verdict {
        match self.policy.rule(path.as_bytes(), is_folder) {
            Rule::Exclude => Verdict::LeaveOut,
            Rule::Keep if is_folder => Verdict::Hollow,
            Rule::Keep => Verdict::LeaveOut,
            Rule::Reset | Rule::Seed | Rule::Follow => Verdict::Keep,
        }
    }
}

struct Rules {
    file: PathBuf,
    out: GlobSetBuilder,
    hollow: GlobSetBuilder,
}

impl Rules {
    fn add(&mut self, text: &[u8]) -> Result<()> {
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            self.add_line(line).map_err(|reason| Error::Exclude {
                file: self.file.clone(),
                line: at + 1,
                reason,
            })?;
        }
        Ok(())
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), String> {
        let line = std::str::from_utf8(line)
            .map_err(|_| "it is not UTF-8; `?` stands for any one byte of a name".to_owned())?
            .trim_end();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line.starts_with('!') {
            return Err("`!` is not supported: a later line can not bring back what an earlier one left out".into());
        }
        let (rule, set) = match line.strip_suffix('/') {
            Some(rule) => (rule, &mut self.hollow),
            None => (line, &mut self.out),
        };
        let rule = match rule.strip_prefix('/') {
            Some(anchored) => anchored.to_owned(),
            None if rule.contains('/') => rule.to_owned(),
            None => format!("**/{rule}"),
        };
        if rule.is_empty() || rule == "**/" {
            return Err("it names the whole tree".into());
        }
        let glob = GlobBuilder::new(&rule)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| error.kind().to_string())?;
        set.add(glob);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn verdict(rules: &str, path: &[u8]) -> Verdict {
        let exclude = Exclude::new(Some((Path::new("x"), rules.as_bytes()))).unwrap();
        exclude.verdict(&TreePath::from_bytes(path.to_vec()).unwrap(), false)
    }

    #[test]
    fn what_clones_keep_is_not_published_but_the_folders_for_it_are() {
        let mut policy = Policy::default();
        let text = b"keep /home\nkeep /etc/passwd\nseed /etc/group\nexclude *.log\nfollow /opt";
        policy.add("policy", text).unwrap();
        let exclude = Exclude::new(None).unwrap().with_policy(policy);
        for (path, is_folder, expected) in [
            ("home", true, Verdict::Hollow),
            ("home", false, Verdict::LeaveOut),
            ("etc/passwd", false, Verdict::LeaveOut),
            ("etc/group", false, Verdict::Keep),
            ("var/a.log", false, Verdict::LeaveOut),
            ("opt/a", false, Verdict::Keep),
            ("etc/hostname", false, Verdict::Keep),
        ] {
            let path = TreePath::from_bytes(path.into()).unwrap();
            assert_eq!(exclude.verdict(&path, is_folder), expected, "{path}");
        }
    }

    #[test]
    fn a_rule_means_the_paths_that_the_manual_says() {
        use Verdict::{Hollow, Keep, LeaveOut};
        for (rule, path, expected) in [
            ("*.o", &b"a.o"[..], LeaveOut),
            ("*.o", b"src/deep/a.o", LeaveOut),
            ("*.o", b"a.old", Keep),
            ("/a.o", b"src/a.o", Keep),
            ("/src/*.o", b"src/a.o", LeaveOut),
            ("src/*.o", b"src/a.o", LeaveOut),
            ("src/*.o", b"x/src/a.o", Keep),
            ("/src/*.o", b"src/deep/a.o", Keep),
            ("/src/**/a.o", b"src/very/deep/a.o", LeaveOut),
            ("/home/*/.cache/", b"home/anna/.cache", Hollow),
            ("?.o", b"\xff.o", LeaveOut),
            ("# *.o", b"a.o", Keep),
            ("", b"proc", Hollow),
            ("", b"srv/proc", Keep),
            ("", b"etc/ssh/ssh_host_ed25519_key", LeaveOut),
            ("", b"etc/ssh/sshd_config", Keep),
            ("", b"etc/machine-id", Keep),
        ] {
            assert_eq!(
                verdict(rule, path),
                expected,
                "`{rule}` for {}",
                path.escape_ascii()
            );
        }
    }

    #[test]
    fn a_rule_that_can_not_be_understood_names_its_file_and_line() {
        for (rules, expected) in [
            (
                "ok\n[a",
                "etc/x, line 2: unclosed character class; missing ']'",
            ),
            (
                "!keep",
                "etc/x, line 1: `!` is not supported: a later line can not bring back what an earlier one left out",
            ),
            ("\n\n/", "etc/x, line 3: it names the whole tree"),
        ] {
            let error = Exclude::new(Some((Path::new("etc/x"), rules.as_bytes()))).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
