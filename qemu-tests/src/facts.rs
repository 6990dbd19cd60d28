//! What a booted machine says about itself: the same questions in every case.

use std::fmt;
use std::io;
use std::path::Path;

use crate::image::is_clean;
use crate::machine::Machine;

/// Asked in the machine; one line an answer, the boot's own log last.
const QUESTIONS: &str = r#"echo "root=$(findmnt --noheadings --output FSTYPE /)"
echo "state=$(systemctl is-system-running)"
echo "failed=$(systemctl --failed --no-legend --plain --no-pager | tr '\n' ' ')"
echo "version=$(cat /etc/model-version)"
echo "hostname=$(hostname)"
echo "machine_id=$(cat /etc/machine-id)"
echo "links=$(ip -brief address show up scope global | tr -s ' ' | tr '\n' ' ')"
echo "status=$(/run/initramfs/reclone status --json)"
echo log=
tac /run/reclone/log | sed '/^boot at/q' | tac"#;

/// The answers.
#[derive(Clone, Debug)]
pub struct Facts(String);

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Facts {
    /// Waits until the machine is up, logs in, asks it, and prints what it says.
    pub fn once_up(machine: &mut Machine) -> io::Result<Facts> {
        machine.log_in()?;
        let facts = Facts::of(machine)?;
        println!("{facts}");
        Ok(facts)
    }

    /// Asks a machine where root is logged in.
    pub fn of(machine: &mut Machine) -> io::Result<Facts> {
        Ok(Facts(machine.report(QUESTIONS)?))
    }

    /// The answer to one question.
    pub fn get(&self, name: &str) -> &str {
        let is_it = |line: &&str| line.split_once('=').is_some_and(|(key, _)| key == name);
        let line = self.0.lines().find(is_it).unwrap_or_default();
        line.split_once('=').map_or("", |(_, value)| value).trim()
    }

    /// What the agent said during this boot.
    pub fn log(&self) -> &str {
        self.0.split_once("\nlog=\n").map_or("", |(_, log)| log)
    }

    /// Fails unless the machine runs `generation` as its root, with every unit well.
    pub fn assert_runs(&self, generation: u64) {
        assert_eq!(self.get("root"), "overlay", "{}", self.0);
        let booted = format!("booting generation {generation} after");
        assert!(
            self.log().contains(&booted),
            "no `{booted}` in:\n{}",
            self.0
        );
        self.assert_well();
    }

    /// Fails if a unit has failed.
    pub fn assert_well(&self) {
        assert_eq!(
            (self.get("failed"), self.get("state")),
            ("", "running"),
            "{}",
            self.0
        );
    }

    /// Powers off in order and fails unless the ext4 of the disk was left clean and sound, by the shutdown program where the
    /// root was assembled.
    pub fn power_off(&self, machine: Machine, disk: &Path) -> io::Result<()> {
        self.power_off_assembled(machine)?;
        assert!(is_clean(disk)?, "{} was left unclean", disk.display());
        Ok(())
    }

    /// The same without a look at the disk.
    pub fn power_off_assembled(&self, machine: Machine) -> io::Result<()> {
        let ended = machine.power_off()?;
        println!("on for {} s", ended.on.as_secs());
        let by_agent = ended.said.contains("reclone: all disks are clean");
        assert_eq!(by_agent, self.get("root") == "overlay", "{}", ended.said);
        Ok(())
    }
}
