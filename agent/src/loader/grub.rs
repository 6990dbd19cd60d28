//! GRUB: entries between two lines of `custom.cfg`, which the `grub.cfg` of every `grub-mkconfig` reads (`/etc/grub.d/41_custom`). What else
//! stands there is the administrator's and stays.

use std::path::Path;

use super::{Edit, Entries, Entry, FILES, read as read_file};
use crate::command_line::words;
use crate::error::{Error, Result};

const BEGIN: &str = "### BEGIN reclone: what stands up to END is written by `reclone loader` ###";
const END: &str = "### END reclone ###";
/// A line of ours that says what an entry starts; GRUB takes it for a comment.
const NOTE: &str = "# reclone-";

/// `config_directory` is set while a file is read, and no more when an entry of it is started.
pub const HEAD: &str = "if [ -n \"${config_directory}\" ]; then
  set reclone=\"${config_directory}/reclone\"
else
  set reclone=\"${prefix}/reclone\"
fi
export reclone
";
/// What was chosen for the next boot alone is not to be changed. The first entry is the disk's own.
const DEFAULT: &str = "if [ \"${boot_once}\" != \"true\" ]; then
  set default=reclone-current
  set fallback=0
fi
";

/// Whether what `grub.cfg` says leads to `custom.cfg`.
pub fn reads_custom(grub_cfg: &str) -> bool {
    let mut lines = grub_cfg.lines().map(str::trim_start);
    lines.any(|line| line.starts_with("source ") && line.contains("/custom.cfg"))
}

pub fn read(home: &Path) -> Result<Entries> {
    let path = home.join("custom.cfg");
    let text = read_file(&path)?;
    let Some([_, ours, _]) = parts(&text, &path)? else {
        return Ok(Entries::default());
    };
    let entry = |role: &str| {
        let mut lines = ours.lines().filter_map(|line| line.strip_prefix(NOTE));
        let (id, words) = lines
            .find_map(|line| line.strip_prefix(role))?
            .split_once(' ')?;
        Some(Entry {
            id: id.to_owned(),
            words: words.to_owned(),
            tries: None,
        })
    };
    Ok(Entries {
        current: entry("current: "),
        previous: entry("previous: "),
    })
}

/// Whether everybody may start the disk's own first entry: GRUB asks for no password, or not for that. Debian's `10_linux` gives its entries no
/// `--unrestricted`, Fedora's does, and so do many administrators.
fn is_for_everybody(grub_cfg: &str, custom: &str) -> bool {
    let lines = || grub_cfg.lines().map(str::trim_start);
    let mut all = lines().chain(custom.lines().map(str::trim_start));
    let mut entries = lines().filter(|line| line.starts_with("menuentry "));
    !all.any(|line| line.starts_with("set superusers="))
        || entries
            .next()
            .is_some_and(|line| line.contains(" --unrestricted"))
}

pub fn write(home: &Path, entries: &Entries) -> Result<Edit> {
    let path = home.join("custom.cfg");
    let text = read_file(&path)?;
    let [before, _, after] = parts(&text, &path)?.unwrap_or([&text, "", ""]);
    let mut new = before.to_owned();
    if let Some(current) = &entries.current {
        if !new.is_empty() && !new.ends_with('\n') {
            new.push('\n');
        }
        let free = match is_for_everybody(&read_file(&home.join("grub.cfg"))?, &text) {
            true => " --unrestricted",
            false => "",
        };
        new += &format!("{BEGIN}\n{HEAD}{}", entry("current", current, free));
        if let Some(previous) = &entries.previous {
            new += &entry("previous", previous, "");
        }
        new += &format!("{DEFAULT}{END}\n");
    }
    new += after;
    let new = Some(new).filter(|it| !it.is_empty());
    Ok(Edit {
        path,
        old: text,
        new,
    })
}

/// What stands before our lines, they, and what stands behind them; nothing where there are none of ours.
fn parts<'a>(text: &'a str, path: &Path) -> Result<Option<[&'a str; 3]>> {
    let Some((before, rest)) = text.split_once(BEGIN) else {
        return Ok(None);
    };
    let Some((ours, after)) = rest.split_once(END) else {
        return Err(Error::Loader(format!(
            "{}: the line `{END}` is missing: remove what stands from `BEGIN reclone` on as far as it is reclone's",
            path.display()
        )));
    };
    Ok(Some([
        before,
        ours,
        after.strip_prefix('\n').unwrap_or(after),
    ]))
}

fn entry(role: &str, entry: &Entry, free: &str) -> String {
    let Entry {
        id, words: line, ..
    } = entry;
    let (release, [kernel, initramfs]) = (entry.release(), FILES);
    let quoted = quoted(line);
    let title = match role {
        "current" => format!("Linux {release}, by reclone"),
        _ => format!("Linux {release}, by reclone: the one before"),
    };
    format!(
        "{NOTE}{role}: {id} {line}\n\
         menuentry '{title}'{free} --id reclone-{role} {{\n  \
         linux \"${{reclone}}/{id}/{kernel}\"{quoted}\n  \
         initrd \"${{reclone}}/{id}/{initramfs}\"\n}}\n"
    )
}

/// The words of a kernel command line, each as GRUB takes it whatever is in it.
pub fn quoted(line: &str) -> String {
    let mut quoted = String::new();
    for word in words(line) {
        quoted += &format!(" '{}'", word.replace('\'', "'\\''"));
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_the_disks_own_entry_does_not_ask_for_is_not_asked_for() {
        let entry = |options: &str| {
            format!("\tmenuentry 'Debian' --class os{options} $menuentry_id_option 'x' {{\n")
        };
        let (asks, free) = (entry(""), entry(" --unrestricted"));
        let password = "  set superusers=\"root\"\npassword root x\n";
        for (grub_cfg, custom, expected) in [
            (asks.clone(), "", true),
            (format!("{password}{asks}"), "", false),
            (asks, password, false),
            (format!("{password}{free}"), "", true),
            (format!("{free}{password}"), password, true),
            (password.to_owned(), "", false),
        ] {
            let found = is_for_everybody(&grub_cfg, custom);
            assert_eq!(found, expected, "{grub_cfg}{custom}");
        }
    }
}
