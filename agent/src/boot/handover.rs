//! What the running system finds in `/run`, which the initramfs hands over: the shutdown program that leaves the disk
//! clean, the units that an assembled root needs, and those that it must not run.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::shutdown;

/// The running agent.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Units that mean the root partition, which is no longer the root: the first would give the overlay the partition's mount
/// options, the second would check a file system that is in use.
const MASKED: [&str; 2] = ["systemd-remount-fs.service", "systemd-fsck-root.service"];

/// With this file in it, dracut would unpack its initramfs over the folder at power-off.
const DRACUT_SHUTDOWN: &str = ".need_shutdown";

/// The mounts of the partitions are the shutdown program's to end: systemd, which can not while the overlay is on them,
/// would try at every power-off and report a failure.
const DISK_UNIT_FOLDERS: [&str; 2] = ["run-reclone-disk.mount.d", "run-reclone-pooldisk.mount.d"];
const DISK_STAYS: &str = "[Unit]\nDefaultDependencies=no\n";

/// Puts a copy of this program where systemd looks for the shutdown program: `<run>/initramfs/shutdown`, and under its own
/// name beside it. `/run` forbids running programs, so it gets a file system of its own; what was in the folder stays. What an earlier try of
/// this boot placed is left as it is.
pub fn place_shutdown_program(run: &Path) -> Result<()> {
    let folder = run.join("initramfs");
    let failed = |error: io::Error| Error::system("can not fill", &folder)(error);
    let length = |path: &Path| fs::metadata(path).map(|it| it.len());
    let own = length(Path::new(OWN_PROGRAM)).map_err(failed)?;
    if length(&folder.join("reclone")).is_ok_and(|it| it == own) {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&folder)
        .map_err(failed)?;
    // The stamps and notes of fsck, which systemd asks for.
    let mut notes = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)?.flatten() {
        let wanted = entry.file_name() != DRACUT_SHUTDOWN;
        if wanted && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            notes.push((entry.file_name(), fs::read(entry.path()).map_err(failed)?));
        }
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("tmpfs"),
        &folder,
        Some("tmpfs"),
        flags,
        Some("mode=0755,size=64m"),
    )
    .map_err(Error::system("can not mount a tmpfs at", &folder))?;
    for (name, content) in notes {
        fs::write(folder.join(name), content).map_err(failed)?;
    }
    // The folders that systemd moves its own mounts to.
    for name in ["dev", "proc", "sys", "run", "oldroot"] {
        fs::create_dir(folder.join(name)).map_err(failed)?;
    }
    let program = folder.join(shutdown::NAME);
    fs::copy(OWN_PROGRAM, &program).map_err(failed)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    symlink(shutdown::NAME, folder.join("reclone")).map_err(failed)
}

/// Writes the units of the running system: masks, and the removal of old sessions once the system is up.
pub fn write_units(run: &Path, pool: &Path, config: &Config) -> Result<()> {
    let units = run.join("systemd/system");
    let write = || -> io::Result<()> {
        make_folder(&units)?;
        for name in MASKED {
            replace_link(Path::new("/dev/null"), &units.join(name))?;
        }
        for folder in DISK_UNIT_FOLDERS.map(|name| units.join(name)) {
            make_folder(&folder)?;
            fs::write(folder.join("stays.conf"), DISK_STAYS)?;
        }
        add(
            &units,
            "reclone-prune.service",
            &prune_unit(run, pool, config),
        )
    };
    write().map_err(Error::system("can not write units to", &units))
}

/// Has the running system tell, once it is up, that this generation is good, or start the machine again: when that takes longer
/// than `time`, or a health check fails. `reclone good` finds by the file `reclone/trial` that there is a watch to end.
pub fn write_trial(run: &Path, time: Duration) -> Result<()> {
    let units = run.join("systemd/system");
    let write = || -> io::Result<()> {
        make_folder(&units)?;
        fs::write(run.join("reclone/trial"), "")?;
        add(&units, "reclone-good.service", &good_unit(run, time))
    };
    write().map_err(Error::system("can not write units to", &units))
}

/// Whether a good end of this boot is news to the boot loader: reclone started another kernel, or an entry of reclone's was started by
/// systemd-boot, which names the initramfs and may count.
pub fn is_news_to_loader(config: &Config, command_line: &str) -> bool {
    match &config.kernel {
        // A start over the network leaves the disk's as it is.
        Some(_) => config.boot_loader && config.install.is_none(),
        None => command_line.contains("initrd=\\reclone\\"),
    }
}

/// Has the running system put the kernel that this boot had to start where the boot loader finds it, and take the count from an entry that came
/// to a good end. Where the generation is on trial its proof comes first; this is no part of that, for a slow disk is no bad generation.
pub fn write_loader(run: &Path) -> Result<()> {
    let units = run.join("systemd/system");
    let program = run.join("initramfs/reclone");
    let text = format!(
        "[Unit]\n\
         Description=Kernel of reclone's generation for the boot loader\n\
         RequiresMountsFor={run}/reclone/disk\n\
         After=multi-user.target reclone-good.service\n\n\
         [Service]\n\
         Type=exec\n\
         ExecStart=-{program} loader --proven\n",
        run = run.display(),
        program = program.display()
    );
    let written = make_folder(&units).and_then(|()| add(&units, "reclone-loader.service", &text));
    written.map_err(Error::system("can not write units to", &units))
}

/// Keeps the configuration of the initramfs, with its key and token, for the running system, whose own is the model's. Gives the
/// folder that it is in.
pub fn keep_configuration(run: &Path, config: &Path) -> Result<PathBuf> {
    let copy = run.join("reclone/etc");
    let keep = || -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&copy)?;
        // A disk that has a generation boots without a configuration, too.
        for entry in fs::read_dir(config).into_iter().flatten().flatten() {
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        Ok(())
    };
    keep().map_err(Error::system("can not copy to", &copy))?;
    Ok(copy)
}

/// Has the running system sync once, a minute after it has started, by the configuration that was kept in `copy`.
pub fn sync_later(run: &Path, copy: &Path, config: &Path) -> Result<()> {
    let units = run.join("systemd/system");
    let write = || -> io::Result<()> {
        make_folder(&units)?;
        fs::write(
            units.join("reclone-sync.service"),
            sync_unit(run, copy, config),
        )?;
        add(&units, "reclone-sync.timer", SYNC_TIMER)
    };
    write().map_err(Error::system("can not write units to", &units))
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Writes a unit and has it started with the system.
fn add(units: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::write(units.join(name), text)?;
    let wanted = units.join("multi-user.target.wants");
    make_folder(&wanted)?;
    replace_link(&Path::new("..").join(name), &wanted.join(name))
}

/// Makes `link` lead to the pool: it is where the verbs look for it on a running clone.
pub fn link_pool(link: &Path, pool: &Path) -> Result<()> {
    replace_link(pool, link).map_err(Error::system("can not make the link", link))
}

/// A link that an earlier try of this boot made is in the way.
fn replace_link(target: &Path, link: &Path) -> io::Result<()> {
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(target, link),
    }
}

/// The units below run in the background, and their failure is not the system's: the next boot does the same work.
const QUIETLY: &str = "Type=exec\nNice=19\nIOSchedulingClass=idle\n";

const SYNC_TIMER: &str = "[Unit]\n\
    Description=The sync that reclone could not finish at boot\n\n\
    [Timer]\n\
    OnActiveSec=60\n";

/// The configuration that counts is that of the initramfs. A unit has its own meaning for a single `%`.
fn prune_unit(run: &Path, pool: &Path, config: &Config) -> String {
    let (run, pool, count) = (run.display(), pool.display(), config.sessions);
    let space = config.sessions_space.to_string().replace('%', "%%");
    format!(
        "[Unit]\n\
         Description=Removal of old sessions from the pool of reclone\n\
         RequiresMountsFor={pool}\n\
         After=multi-user.target\n\n\
         [Service]\n\
         {QUIETLY}\
         ExecStart=-{run}/initramfs/reclone prune --pool {pool} --sessions {count} --sessions-space {space}\n"
    )
}

/// Who sees the machine start again sees why. Of the exit statuses only that of a health check means that the system is not well: a disk that is full is no reason to start
/// again.
fn good_unit(run: &Path, time: Duration) -> String {
    let (run, seconds) = (run.display(), time.as_secs());
    format!(
        "[Unit]\n\
         Description=Proof of a new generation of reclone\n\
         RequiresMountsFor={run}/reclone/disk\n\
         After=multi-user.target\n\
         JobTimeoutSec={seconds}\n\
         JobTimeoutAction=reboot\n\
         FailureAction=reboot\n\n\
         [Service]\n\
         Type=oneshot\n\
         SuccessExitStatus=1 2 3 6 7 8\n\
         StandardOutput=journal+console\n\
         ExecStart={run}/initramfs/reclone good\n"
    )
}

fn sync_unit(run: &Path, copy: &Path, config: &Path) -> String {
    let (run, copy, config) = (run.display(), copy.display(), config.display());
    format!(
        "[Unit]\n\
         Description=Sync of reclone in the background\n\
         RequiresMountsFor={run}/reclone/disk\n\
         After=network-online.target\n\n\
         [Service]\n\
         {QUIETLY}\
         BindReadOnlyPaths={copy}:{config}\n\
         ExecStart=-{run}/initramfs/reclone sync\n"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_units_are_written_again_without_complaint() {
        let run = tempfile::tempdir().unwrap();
        let pool = Path::new("/run/reclone/disk/reclone");
        for _ in 0..2 {
            write_units(run.path(), pool, &Config::default()).unwrap();
        }
        let units = run.path().join("systemd/system");
        for name in MASKED {
            assert_eq!(
                fs::read_link(units.join(name)).unwrap(),
                Path::new("/dev/null")
            );
        }
        let wanted = units.join("multi-user.target.wants/reclone-prune.service");
        let text = fs::read_to_string(wanted).unwrap();
        let program = format!(
            "ExecStart=-{}/initramfs/reclone prune --pool /run/reclone/disk/reclone --sessions 3 --sessions-space 10%%\n",
            run.path().display()
        );
        assert!(text.contains(&program), "{text}");
    }

    #[test]
    fn a_generation_on_trial_is_proved_by_a_unit_that_starts_again_what_takes_too_long_or_is_ill() {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir(run.path().join("reclone")).unwrap();
        write_trial(run.path(), Duration::from_secs(900)).unwrap();
        let units = run.path().join("systemd/system");
        let wanted = units.join("multi-user.target.wants/reclone-good.service");
        let text = fs::read_to_string(wanted).unwrap();
        let lines = [
            "After=multi-user.target",
            "JobTimeoutSec=900",
            "JobTimeoutAction=reboot",
            "FailureAction=reboot",
            "SuccessExitStatus=1 2 3 6 7 8",
        ];
        for line in lines {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
        assert!(run.path().join("reclone/trial").exists());
    }

    #[test]
    fn the_boot_loader_follows_after_the_proof_and_is_no_part_of_it() {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir(run.path().join("reclone")).unwrap();
        write_trial(run.path(), Duration::from_secs(900)).unwrap();
        write_loader(run.path()).unwrap();
        let wanted = run.path().join("systemd/system/multi-user.target.wants");
        let unit = |name: &str| fs::read_to_string(wanted.join(name)).unwrap();
        let (loader, good) = (unit("reclone-loader.service"), unit("reclone-good.service"));
        let lines = [
            "After=multi-user.target reclone-good.service".to_owned(),
            format!(
                "ExecStart=-{}/initramfs/reclone loader --proven",
                run.path().display()
            ),
        ];
        for line in lines {
            assert!(loader.lines().any(|it| it == line), "{line}: {loader}");
        }
        assert!(!loader.contains("reboot") && !good.contains("loader"));
    }

    #[test]
    fn the_boot_loader_is_told_of_another_kernel_and_of_an_entry_that_may_be_counted() {
        let mut config = Config::default();
        let grub = "BOOT_IMAGE=/boot/grub/reclone/6.1-0a/vmlinuz ro";
        let counted = r"initrd=\reclone\6.1-0a\initrd.img ro";
        assert!(!is_news_to_loader(&config, grub));
        assert!(is_news_to_loader(&config, counted));
        config.kernel = Some("6.1".into());
        assert!(is_news_to_loader(&config, grub));
        config.boot_loader = false;
        assert!(!is_news_to_loader(&config, counted));
        config.kernel = None;
        assert!(
            is_news_to_loader(&config, counted),
            "an entry that is there"
        );
    }

    #[test]
    fn a_later_sync_takes_the_configuration_of_the_initramfs_along() {
        let (run, config) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(
            config.path().join("reclone.conf"),
            "store = http://model/\n",
        )
        .unwrap();
        for _ in 0..2 {
            let copy = keep_configuration(run.path(), config.path()).unwrap();
            sync_later(run.path(), &copy, config.path()).unwrap();
        }
        let copy = run.path().join("reclone/etc");
        let copied = fs::read_to_string(copy.join("reclone.conf")).unwrap();
        assert_eq!(copied, "store = http://model/\n");
        let units = run.path().join("systemd/system");
        let text = fs::read_to_string(units.join("reclone-sync.service")).unwrap();
        let (from, to) = (copy.display(), config.path().display());
        assert!(
            text.contains(&format!("BindReadOnlyPaths={from}:{to}\n")),
            "{text}"
        );
        let wanted = units.join("multi-user.target.wants/reclone-sync.timer");
        assert_eq!(fs::read_to_string(wanted).unwrap(), SYNC_TIMER);
    }
}
