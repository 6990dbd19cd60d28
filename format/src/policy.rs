//! What a reset does to which path: lines `RULE PATTERN`, later lines win. The language is in reclone-policy(5).
//!
//! A rule for a folder holds for all below it. Where a folder is kept, seeded or excluded, it is so as a whole: later lines for paths
//! inside it mean nothing, for a clone mounts such a folder in one piece and a model does not look into it.
//! Nothing here reads a file.

mod pattern;

use std::fmt;

pub use pattern::{Part, Pattern};

/// The largest file of rules, in bytes.
pub const MAX_FILE: usize = 1 << 20;
/// The most rules of all files together.
pub const MAX_RULES: usize = 4096;
/// Where a model's tree has its rules.
pub const MODEL_FILE: &str = "etc/reclone/policy";

/// What every clone keeps without being asked, in the words of a policy file.
pub const BUILT_IN: &str = "\
# who this machine is
keep /etc/machine-id
keep /etc/hostname
keep /etc/ssh/ssh_host_*
# its disks
keep /etc/fstab
keep /etc/crypttab
# what it knows of its networks
keep /var/lib/dhcp/*.leases
keep /var/lib/dhcpcd/*.lease
keep /var/lib/NetworkManager/*.lease
keep /var/lib/NetworkManager/secret_key
keep /var/lib/NetworkManager/timestamps
# what makes its random numbers its own
keep /var/lib/systemd/random-seed
keep /var/lib/systemd/credential.secret
";
/// The name of the built-in rules in messages.
pub const BUILT_IN_NAME: &str = "built-in list";

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// As in the model, at every boot.
    Reset,
    /// As the clone left it, never taken from the model.
    Keep,
    /// Given once from the model, then as the clone left it.
    Seed,
    /// As the clone left it, until the model changes it.
    Follow,
    /// Not published; for a clone as if there were no rule.
    Exclude,
}

impl Rule {
    const ALL: [Rule; 5] = [
        Rule::Reset,
        Rule::Keep,
        Rule::Seed,
        Rule::Follow,
        Rule::Exclude,
    ];

    /// Its word in a policy.
    pub fn word(self) -> &'static str {
        match self {
            Rule::Reset => "reset",
            Rule::Keep => "keep",
            Rule::Seed => "seed",
            Rule::Follow => "follow",
            Rule::Exclude => "exclude",
        }
    }

    /// Whether it holds for a folder as a whole, whatever later lines say about paths inside.
    fn is_whole(self) -> bool {
        matches!(self, Rule::Keep | Rule::Seed | Rule::Exclude)
    }

    /// Whether a clone looks for the paths that it names, instead of asking for a path what governs it.
    fn is_looked_for(self) -> bool {
        matches!(self, Rule::Keep | Rule::Seed)
    }
}

/// One rule and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it does.
    pub rule: Rule,
    /// To which paths.
    pub pattern: Pattern,
    /// The name of its file.
    pub file: String,
    /// Counted from 1.
    pub number: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rule.word(), self.pattern)
    }
}

/// Why a file of rules can not be used: the first thing that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file, as it was named.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// The byte in the line, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PolicyError {
            file,
            line,
            column,
            reason,
        } = self;
        write!(f, "{file}:{line}:{column}: {reason}")
    }
}

impl std::error::Error for PolicyError {}

/// The rule for a path: the line, and how much of the path it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The line that counts.
    pub line: &'a Line,
    /// Bytes of the path up to the end of the folder, or of the path itself, that the line names.
    pub at: usize,
}

/// Rules in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    lines: Vec<Line>,
}

impl Policy {
    /// The built-in rules.
    pub fn built_in() -> Self {
        let mut policy = Self::default();
        policy
            .add(BUILT_IN_NAME, BUILT_IN.as_bytes())
            .expect("the built-in rules can be read");
        policy
    }

    /// Adds the rules of a file, whose name is `file` in messages. They win over those that are there. On an error none is added.
    pub fn add(&mut self, file: &str, text: &[u8]) -> Result<(), PolicyError> {
        let mut new = Vec::new();
        let failed = |line, (column, reason)| PolicyError {
            file: file.to_owned(),
            line,
            column,
            reason,
        };
        if text.len() > MAX_FILE {
            return Err(failed(1, (1, "it is larger than 1 MiB".into())));
        }
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let parsed = parse(line).map_err(|why| failed(number, why))?;
            new.extend(parsed.map(|(rule, pattern)| Line {
                rule,
                pattern,
                file: file.to_owned(),
                number,
            }));
            if self.lines.len() + new.len() > MAX_RULES {
                return Err(failed(number, (1, "there are more than 4096 rules".into())));
            }
        }
        self.lines.append(&mut new);
        Ok(())
    }

    /// The rules as a clone goes by them: what is not published is the model's concern.
    pub fn of_clone(mut self) -> Self {
        self.lines.retain(|line| line.rule != Rule::Exclude);
        self
    }

    /// All rules, the later ones stronger.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The rule for `path`, which is relative to the top of the tree and has no empty parts; none where no line names it or a folder
    /// above it: it is reset.
    pub fn verdict(&self, path: &[u8], is_folder: bool) -> Option<Verdict<'_>> {
        let mut best: Option<(usize, usize)> = None;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for end in ends.map(|(at, _)| at).chain([path.len()]) {
            let (part, is_folder) = (&path[..end], is_folder || end < path.len());
            let first = best.map_or(0, |(index, _)| index + 1);
            let later = self.lines[first..].iter();
            if let Some(index) = later
                .clone()
                .rposition(|line| line.pattern.matches(part, is_folder))
            {
                best = Some((first + index, end));
            }
            if best.is_some_and(|(index, _)| is_folder && self.lines[index].rule.is_whole()) {
                break;
            }
        }
        best.map(|(index, at)| Verdict {
            line: &self.lines[index],
            at,
        })
    }

    /// What becomes of `path`.
    pub fn rule(&self, path: &[u8], is_folder: bool) -> Rule {
        self.verdict(path, is_folder)
            .map_or(Rule::Reset, |verdict| verdict.line.rule)
    }
}

/// A line's rule, if it has one; else the column and what is wrong there.
fn parse(line: &[u8]) -> Result<Option<(Rule, Pattern)>, (usize, String)> {
    let blanks = |text: &[u8]| text.iter().take_while(|byte| is_blank(**byte)).count();
    let start = blanks(line);
    let text = &line[start..];
    if text.is_empty() || text[0] == b'#' {
        return Ok(None);
    }
    let length = text
        .iter()
        .position(|byte| is_blank(*byte))
        .unwrap_or(text.len());
    let word = &text[..length];
    let rule = Rule::ALL
        .into_iter()
        .find(|rule| rule.word().as_bytes() == word);
    let rule = rule.ok_or_else(|| {
        let word = word[..word.len().min(40)].escape_ascii();
        let reason = format!("`{word}` is no rule: reset, keep, seed, follow and exclude are");
        (start + 1, reason)
    })?;
    let at = start + length + blanks(&text[length..]);
    let pattern = without_blanks_behind(&line[at.min(line.len())..]);
    let pattern = Pattern::parse(pattern).map_err(|(column, reason)| (at + column, reason))?;
    if rule.is_looked_for() && !pattern.is_bounded() {
        let reason = "keep and seed want a path from the top, such as /home/*, without `**`: a boot can not search the whole tree";
        return Err((at + 1, reason.into()));
    }
    Ok(Some((rule, pattern)))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// What stands before the blanks at the end; one that is escaped belongs to the name.
fn without_blanks_behind(text: &[u8]) -> &[u8] {
    let mut end = text.len();
    while end > 0 && is_blank(text[end - 1]) {
        let escapes = text[..end - 1]
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\');
        if escapes.count() % 2 == 1 {
            break;
        }
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
