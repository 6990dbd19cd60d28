//! The unit that has systemd run `reclone-model serve`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::error::{Context, Error, Result};
use crate::setup::plain;
use crate::temp_file::TempFile;

/// Its name.
pub const NAME: &str = "reclone-model.service";
/// Where the owner of a machine has units.
const FOLDER: &str = "/etc/systemd/system";
/// Is there while systemd runs the machine.
const RUNNING: &str = "/run/systemd/system";

/// Writes the unit, unless it is there, and has systemd start it, now and at every boot. The file is durable when this returns.
pub fn prepare(store: &Path, port: u16, dry_run: bool) -> Result<()> {
    let path = Path::new(FOLDER).join(NAME);
    let program = std::env::current_exe().context("find", Path::new("reclone-model"))?;
    let text = text(&plain(&program)?, store, port);
    match fs::read_to_string(&path) {
        Ok(old) if old == text => log::info!("{} is there", path.display()),
        Ok(_) => {
            log::warn!(
                "{} is another than `reclone-model setup` would write; it stays: remove it to have it written anew",
                path.display()
            );
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("read", &path);
        }
        Err(_) if dry_run => log::info!("would write {} and start it", path.display()),
        Err(_) => write(&path, &text)?,
    }
    match dry_run {
        true => Ok(()),
        false => enable(),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(FOLDER).context("create", Path::new(FOLDER))?;
    let mut temp = TempFile::create(path.with_extension("new"))?;
    temp.write(text.as_bytes())?;
    temp.persist(path)?;
    log::info!("wrote {}", path.display());
    Ok(())
}

/// A clone gets the unit with the model's tree, and has no store: it does not start there.
fn text(program: &Path, store: &Path, port: u16) -> String {
    let (program, store) = (program.display(), store.display());
    format!(
        "[Unit]\n\
         Description=The store that clones of this machine follow\n\
         Documentation=man:reclone-model(8)\n\
         ConditionPathExists={store}/.reclone-model/store\n\
         \n\
         [Service]\n\
         ExecStart={program} serve {store} --listen [::]:{port}\n\
         Restart=on-failure\n\
         NoNewPrivileges=yes\n\
         ProtectSystem=strict\n\
         ProtectHome=read-only\n\
         PrivateDevices=yes\n\
         CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH\n\
         RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

fn enable() -> Result<()> {
    let command = format!("systemctl enable --now {NAME}");
    if !Path::new(RUNNING).exists() {
        log::warn!("systemd does not run here: `{command}` starts it where it does");
        return Ok(());
    }
    let systemctl = Path::new("systemctl");
    let status = Command::new(systemctl)
        .args(["enable", "--now", NAME])
        .status();
    match status.context("run", systemctl)?.success() {
        true => Ok(()),
        false => Err(Error::Start { command }),
    }
}
