//! GRUB: entries between two lines of `custom.cfg`, which the `grub.cfg` of every `grub-mkconfig` reads (`/etc/grub.d/41_custom`). What else
//! stands there is the administrator's and stays.

use std::path::{Path, PathBuf};

use super::{Entries, Entry, FILES, read as read_file};
use crate::config::words;
use crate::error::{Error, Result};

const BEGIN: &str = "### BEGIN reclone: what stands up to END is written by `reclone loader` ###";
const END: &str = "### END reclone ###";
/// A line of ours that says what an entry starts; GRUB takes it for a comment.
const NOTE: &str = "# reclone-";

/// `config_directory` is set while a file is read, and no more when an entry of it is started.
const HEAD: &str = "if [ -n \"${config_directory}\" ]; then
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
        let (id, words) = (id.to_owned(), words.to_owned());
        Some(Entry { id, words })
    };
    Ok(Entries {
        current: entry("current: "),
        previous: entry("previous: "),
    })
}

pub fn write(home: &Path, entries: &Entries) -> Result<(PathBuf, Option<String>)> {
    let path = home.join("custom.cfg");
    let text = read_file(&path)?;
    let [before, _, after] = parts(&text, &path)?.unwrap_or([&text, "", ""]);
    let mut new = before.to_owned();
    if let Some(current) = &entries.current {
        if !new.is_empty() && !new.ends_with('\n') {
            new.push('\n');
        }
        new += &format!("{BEGIN}\n{HEAD}{}", entry("current", current));
        if let Some(previous) = &entries.previous {
            new += &entry("previous", previous);
        }
        new += &format!("{DEFAULT}{END}\n");
    }
    new += after;
    Ok((path, Some(new).filter(|it| !it.is_empty())))
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

fn entry(role: &str, entry: &Entry) -> String {
    let Entry { id, words: line } = entry;
    let (release, [kernel, initramfs]) = (entry.release(), FILES);
    let mut quoted = String::new();
    for word in words(line) {
        quoted += &format!(" '{}'", word.replace('\'', "'\\''"));
    }
    let title = match role {
        "current" => format!("Linux {release}, by reclone"),
        _ => format!("Linux {release}, by reclone: the one before"),
    };
    format!(
        "{NOTE}{role}: {id} {line}\n\
         menuentry '{title}' --id reclone-{role} {{\n  \
         linux \"${{reclone}}/{id}/{kernel}\"{quoted}\n  \
         initrd \"${{reclone}}/{id}/{initramfs}\"\n}}\n"
    )
}
