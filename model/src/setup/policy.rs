//! The policy that a model begins with: no rule yet, but what was found on this machine, for whoever writes the first.

use std::fs;
use std::path::Path;

use reclone_format::policy::{BUILT_IN, MODEL_FILE};
use reclone_format::{Policy, Rule};

use crate::error::{Context, Result};
use crate::folder::Crossing;
use crate::lint::Finding;
use crate::publish::findings;
use crate::temp_file::TempFile;

/// The most findings that the file lists.
const LISTED: usize = 100;

/// Writes a first policy into the tree `from`, unless there is one. `never` is what will not be published anyway. The file is
/// durable when this returns.
pub fn prepare(from: &Path, never: &[&Path], dry_run: bool) -> Result<()> {
    let path = from.join(MODEL_FILE);
    // Even a link that leads nowhere is the owner's.
    if fs::symlink_metadata(&path).is_ok() {
        log::info!("{} is there", path.display());
        return Ok(());
    }
    if dry_run {
        log::info!("would write a first {}", path.display());
        return Ok(());
    }
    let found = findings(from, &Crossing::default(), never).unwrap_or_else(|error| {
        log::warn!(
            "{}: nothing is looked for; `reclone-model lint` does that later",
            error.chain()
        );
        Vec::new()
    });
    let text = text(&identities(from), &found);
    let folder = path.parent().unwrap_or(from);
    fs::create_dir_all(folder).context("create", folder)?;
    let mut temp = TempFile::create(folder.join(".policy.new"))?;
    temp.write(text.as_bytes())?;
    temp.persist(&path)?;
    log::info!("wrote a first {}", path.display());
    Ok(())
}

/// The files of this tree that each clone has its own of, without a rule: sorted, from the top.
fn identities(from: &Path) -> Vec<String> {
    let built_in = Policy::built_in();
    let patterns = BUILT_IN
        .lines()
        .filter_map(|line| line.strip_prefix("keep /"));
    let mut folders: Vec<&str> = patterns
        .filter_map(|pattern| pattern.rsplit_once('/').map(|(folder, _)| folder))
        .collect();
    folders.sort_unstable();
    folders.dedup();
    let mut found = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(from.join(folder)).into_iter().flatten();
        let names = entries
            .flatten()
            .filter_map(|it| it.file_name().into_string().ok());
        let paths = names.map(|name| format!("{folder}/{name}"));
        found.extend(paths.filter(|path| built_in.rule(path.as_bytes(), false) == Rule::Keep));
    }
    found.sort_unstable();
    found
}

/// The file: comments alone.
fn text(identities: &[String], found: &[Finding]) -> String {
    let mut text = String::from(
        "# What a reset does with which path of a clone, and what is not published: reclone-policy(5).\n\
         # A rule a line, the last one that names a path counts. Without a rule, a path is the model's at every boot.\n\
         #\n\
         # What the users of a clone keep, for instance:\n\
         #keep /home\n",
    );
    if !identities.is_empty() {
        text += "#\n# Each clone has its own of these without a rule (`reclone explain --builtin`); found on this machine:\n";
        for path in identities {
            text += &format!("#   /{}\n", path.escape_debug());
        }
    }
    let is_for_a_rule = |finding: &&Finding| {
        let path = finding.path.as_bytes();
        path != b"etc/fstab" && !path.starts_with(b"boot/")
    };
    let found: Vec<&Finding> = found.iter().filter(is_for_a_rule).collect();
    if !found.is_empty() {
        text += "#\n# Would be published, and perhaps should not; found on this machine by `reclone-model lint`:\n";
        for Finding { path, what } in found.iter().take(LISTED) {
            text += &format!("#   {path}: {what}\n");
        }
        if found.len() > LISTED {
            text += &format!("#   and {} more\n", found.len() - LISTED);
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reclone_format::TreePath;

    use super::*;

    #[test]
    fn a_first_policy_can_be_read_has_no_rule_and_lists_so_many_findings() {
        let finding = |number: usize| Finding {
            path: TreePath::from_bytes(format!("root/a\n{number}").into()).unwrap(),
            what: "it is secret".into(),
        };
        let found: Vec<Finding> = (0..LISTED + 2).map(finding).collect();
        let text = text(&["etc/ssh/ssh_host_\n_key".into()], &found);
        let mut policy = Policy::default();
        policy.add("policy", text.as_bytes()).unwrap();
        assert_eq!(policy.lines(), []);
        assert!(text.contains("#   /etc/ssh/ssh_host_\\n_key\n"), "{text}");
        assert!(
            text.contains("#   /root/a\\n99: it is secret\n#   and 2 more\n"),
            "{text}"
        );
    }
}
