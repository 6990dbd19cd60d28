//! What makes this machine's initramfs: initramfs-tools or dracut. It is run as an administrator would, and what it made is looked at.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use log::{info, warn};

use crate::config::CONFIG_FILE;
use crate::error::{Error, Result};
use crate::pool::list;

/// Where programs of the system are.
const PROGRAMS: [&str; 2] = ["/usr/sbin", "/usr/bin"];
const BOOT: &str = "/boot";

/// A generator.
#[derive(Debug)]
pub struct Generator {
    /// Its name.
    pub name: &'static str,
    /// A program that it alone has.
    mark: &'static str,
    /// The part of reclone that has it take the agent along.
    hook: &'static str,
    /// What makes all images anew.
    command: [&'static str; 4],
    /// What lists an image.
    lister: &'static str,
}

/// With dracut there may be an `update-initramfs`, too.
static ALL: [Generator; 2] = [
    Generator {
        name: "initramfs-tools",
        mark: "mkinitramfs",
        hook: "/usr/share/initramfs-tools/hooks/reclone",
        command: ["update-initramfs", "-u", "-k", "all"],
        lister: "lsinitramfs",
    },
    Generator {
        name: "dracut",
        mark: "dracut",
        hook: "/usr/lib/dracut/modules.d/50reclone/module-setup.sh",
        command: ["dracut", "--quiet", "--force", "--regenerate-all"],
        lister: "lsinitrd",
    },
];

/// An image and what tells whether it was made anew.
type Image = (PathBuf, Option<[i64; 3]>);

impl Generator {
    /// The one that this machine has, with reclone's part of it.
    pub fn find() -> Result<&'static Self> {
        let has = |it: &&Self| program(it.mark).is_some();
        let found = ALL.iter().find(has).ok_or_else(|| {
            Error::Usage("this machine has neither initramfs-tools nor dracut".into())
        })?;
        match Path::new(found.hook).exists() {
            true => Ok(found),
            false => Err(Error::Usage(format!(
                "{} is missing: install the package for {}, or `make install-clone`",
                found.hook, found.name
            ))),
        }
    }

    /// The command that makes the images anew.
    pub fn command(&self) -> String {
        self.command.join(" ")
    }

    /// The images of the kernels in `/boot`; a kernel without one is not asked after.
    pub fn kernels(&self) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for kernel in list(Path::new(BOOT))? {
            let name = kernel.file_name().unwrap_or_default().to_string_lossy();
            let Some(release) = name.strip_prefix("vmlinuz-") else {
                continue;
            };
            match initramfs_of(Path::new(BOOT), release) {
                Some(path) => images.push((path.clone(), stamp(&path))),
                None => warn!(
                    "{} has no initramfs: it boots the plain system",
                    kernel.display()
                ),
            }
        }
        match images.is_empty() {
            true => Err(Error::Usage("/boot has no kernel with an initramfs".into())),
            false => Ok(images),
        }
    }

    /// Makes the images anew and looks into each: it has the agent and the configuration, or not the latter where there is none any
    /// more. Else it says what is wrong.
    pub fn rebuild(&self, images: &[Image], configured: bool) -> Result<(), String> {
        self.run()?;
        for (path, before) in images {
            let shown = path.display();
            if stamp(path) == *before {
                return Err(format!("`{}` did not make {shown} anew", self.command()));
            }
            let what = match (configured, self.look_into(path)?) {
                (true, [true, true]) | (false, [_, false]) => {
                    info!("{shown} is made anew");
                    continue;
                }
                (true, _) => "lacks the agent or its configuration",
                (false, _) => "still has the configuration",
            };
            return Err(format!("{shown} was made anew and {what}"));
        }
        Ok(())
    }

    /// Makes the images anew.
    pub fn run(&self) -> Result<(), String> {
        let command = self.command();
        info!("running `{command}`");
        let [name, arguments @ ..] = self.command;
        let mut run = Command::new(program(name).unwrap_or(name.into()));
        // What it says is no result of this program.
        run.args(arguments).stdout(Stdio::from(std::io::stderr()));
        match run.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{command}` failed ({status})")),
            Err(error) => Err(format!("`{command}` can not be run ({error})")),
        }
    }

    /// Whether the image has the agent, and whether it has its configuration.
    fn look_into(&self, image: &Path) -> Result<[bool; 2], String> {
        let failed = |what: String| format!("{} {}: {what}", self.lister, image.display());
        let mut lister = Command::new(program(self.lister).unwrap_or(self.lister.into()));
        let output = lister.arg(image).stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(output.status.to_string()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let has = |end: &str| {
            let mut names = text.lines().filter_map(|line| line.split(' ').next_back());
            names.any(|name| name.ends_with(end))
        };
        Ok([has("sbin/reclone"), has(&CONFIG_FILE[1..])])
    }
}

/// The initramfs that a folder has for the kernel of this release.
pub fn initramfs_of(folder: &Path, release: &str) -> Option<PathBuf> {
    let names = [
        format!("initrd.img-{release}"),
        format!("initramfs-{release}.img"),
    ];
    let mut paths = names.iter().map(|name| folder.join(name));
    paths.find(|path| path.exists())
}

/// Whether this initramfs has the agent, by what this system has to list it, whoever made it. Else it says why that can not be told.
pub fn has_agent(image: &Path) -> Result<bool, String> {
    let has = |it: &&Generator| program(it.lister).is_some();
    let found = ALL.iter().find(has);
    let found = found.ok_or("this system has neither lsinitramfs nor lsinitrd")?;
    match image.exists() {
        true => found.look_into(image).map(|[agent, _]| agent),
        false => Ok(false),
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let mut paths = PROGRAMS.iter().map(|folder| Path::new(folder).join(name));
    paths.find(|path| path.is_file())
}

fn stamp(path: &Path) -> Option<[i64; 3]> {
    let it = fs::metadata(path).ok()?;
    Some([it.ino().cast_signed(), it.mtime(), it.mtime_nsec()])
}
