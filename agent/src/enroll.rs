//! A machine becomes a clone, or is none any more: its configuration and its initramfs change together or not at all. What the boot
//! then does is in `docs/boot.md`.

mod conf;
mod generator;
pub mod machine;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use log::{info, warn};

use crate::config::{CONFIG_FILE, Config};
use crate::error::{Error, Result};

pub use conf::Settings;
pub use generator::{Generator, has_agent, initramfs_of};

/// What is to change.
pub struct Change {
    /// What makes the initramfs.
    pub generator: &'static Generator,
    /// The configuration that is there.
    old: Option<String>,
    /// The one that will be; none where there is nothing for it to say.
    pub new: Option<String>,
    /// Lines that go although `reclone enroll` did not write them.
    pub lost: Vec<String>,
}

impl Change {
    /// The machine is to be a clone by these settings; what else its configuration says stays.
    pub fn to_clone(settings: &Settings) -> Result<Self> {
        let old = read()?;
        Ok(Self {
            generator: Generator::find()?,
            new: Some(conf::with(old.as_deref().unwrap_or_default(), settings)),
            old,
            lost: Vec::new(),
        })
    }

    /// The machine is to be no clone; lines that do not make it one stay.
    pub fn to_plain() -> Result<Self> {
        let old = read()?;
        let (new, lost) = conf::without(old.as_deref().unwrap_or_default());
        Ok(Self {
            generator: Generator::find()?,
            old,
            new,
            lost,
        })
    }

    /// The configuration before the change. Lines that can not be used are left out.
    pub fn before(&self) -> Config {
        config(self.old.as_deref())
    }

    /// The configuration after it.
    pub fn after(&self) -> Config {
        config(self.new.as_deref())
    }

    /// Writes the configuration, makes the initramfs anew and looks whether it has it. Both are on disk when this returns. After an error
    /// the former configuration is back.
    pub fn make(&self) -> Result<()> {
        let kernels = self.generator.kernels()?;
        write(self.new.as_deref())?;
        let Err(what) = self.generator.rebuild(&kernels, self.new.is_some()) else {
            return Ok(());
        };
        warn!("{what}: taking everything back");
        write(self.old.as_deref())?;
        // Of several images, some may have the new configuration already.
        let left = match self.generator.run() {
            Ok(()) => "nothing has changed, the former configuration is back".to_owned(),
            Err(again) => format!(
                "the former configuration is back, but {again} once more: mend that and run it, for an initramfs may have the other one"
            ),
        };
        Err(Error::Initramfs { what, left })
    }
}

fn config(text: Option<&str>) -> Config {
    let mut config = Config::default();
    config.read_file(Path::new(CONFIG_FILE), text.unwrap_or_default().as_bytes());
    config
}

fn read() -> Result<Option<String>> {
    let path = Path::new(CONFIG_FILE);
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system("can not read", path)(error)),
    }
}

/// Replaces the configuration, or removes it, and the folder where nothing else is in it.
fn write(text: Option<&str>) -> Result<()> {
    let path = Path::new(CONFIG_FILE);
    let folder = path.parent().unwrap_or(path);
    let replace = |text: &str| -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let new = path.with_extension("conf.new");
        let mut file = File::create(&new)?;
        if let Ok(old) = fs::metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    };
    let remove = || match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            File::open(folder)?.sync_all()?;
            // Certificates and rules that are there are somebody's.
            if fs::remove_dir(folder).is_err() {
                info!("{} stays: there is more in it", folder.display());
            }
            Ok(())
        }
    };
    let done = match text {
        Some(text) => replace(text),
        None => remove(),
    };
    done.map_err(Error::system("can not write", path))
}
