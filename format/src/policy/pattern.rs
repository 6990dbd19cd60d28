//! Which paths a rule names, as in gitignore(5): `*` and `?` stay within one name, `**` does not; with a `/` at its start or inside, a
//! pattern is meant from the top of the tree, without one for a name in any folder; with a `/` at its end it names folders only.

use std::fmt;

use crate::tree_path::MAX_PATH;

/// What a pattern says about one name of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is this.
    Name(Vec<u8>),
    /// It matches this.
    Glob(Vec<u8>),
}

impl Part {
    /// Whether a name fits.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Part::Name(own) => own == name,
            Part::Glob(glob) => fast_glob::glob_match(glob, name),
        }
    }
}

/// A pattern that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written.
    text: Vec<u8>,
    /// In the words of the glob crate, from the top.
    glob: Vec<u8>,
    parts: Vec<Part>,
    /// What every path begins with that it names.
    start: Vec<u8>,
    anchored: bool,
    folders_only: bool,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.text))
    }
}

impl Pattern {
    /// Reads a pattern; else the column in it, counted from 1, and what is wrong there.
    pub(super) fn parse(text: &[u8]) -> Result<Self, (usize, String)> {
        let wrong = |at: usize, reason: &str| Err((at + 1, reason.to_owned()));
        if text.is_empty() {
            return wrong(0, "there is no path behind the rule");
        }
        if text.len() > MAX_PATH {
            return wrong(MAX_PATH, "it is longer than 4095 bytes");
        }
        if let Some(at) = text.iter().position(|byte| *byte == 0) {
            return wrong(at, "it contains a NUL byte");
        }
        if text[0] == b'!' {
            return wrong(
                0,
                "`!` is not supported: a later line with another rule takes a path back",
            );
        }
        let folders_only = text.len() > 1 && text.ends_with(b"/");
        let body = &text[..text.len() - usize::from(folders_only)];
        let anchored = body.contains(&b'/');
        let skipped = usize::from(body.starts_with(b"/"));
        let body = &body[skipped..];
        if body.is_empty() {
            return wrong(
                0,
                "it names the whole tree: `mode = follow` in reclone.conf does that",
            );
        }
        let mut parts = Vec::new();
        let mut at = skipped;
        for part in body.split(|byte| *byte == b'/') {
            match part {
                b"" => return wrong(at, "it has an empty name"),
                b"." | b".." => return wrong(at, "a path has no `.` or `..`"),
                _ => parts.push(
                    read_part(part).map_err(|(column, why)| (at + column + 1, why.to_owned()))?,
                ),
            }
            at += part.len() + 1;
        }
        Ok(Self::new(text.to_vec(), parts, anchored, folders_only))
    }

    fn new(text: Vec<u8>, parts: Vec<Part>, anchored: bool, folders_only: bool) -> Self {
        let (mut glob, mut start, mut plain) = (Vec::new(), Vec::new(), anchored);
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                glob.push(b'/');
                if plain {
                    start.push(b'/');
                }
            }
            match part {
                Part::Name(name) => {
                    glob.extend(name.iter().flat_map(|byte| escaped(*byte)));
                    if plain {
                        start.extend(name);
                    }
                }
                Part::Glob(part) => {
                    // `a/**` names what is in `a`, not `a` itself.
                    if plain && part == b"**" && start.ends_with(b"/") && index + 1 < parts.len() {
                        start.pop();
                    }
                    plain = false;
                    glob.extend(part);
                }
            }
        }
        Self {
            text,
            glob,
            parts,
            start,
            anchored,
            folders_only,
        }
    }

    /// Whether it names this path, not only a folder above it. The path has no slash at its start or end.
    pub fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        if !self.anchored {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
            return self.parts[0].matches(name);
        }
        if !path.starts_with(&self.start) {
            return false;
        }
        match self.has_globs() {
            true => fast_glob::glob_match(&self.glob, path),
            false => path.len() == self.start.len(),
        }
    }

    /// What it says about each name of a path from the top; only of use where [`Pattern::is_bounded`].
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether the paths that it names are all as deep as it is, so that they can be looked for name by name.
    pub fn is_bounded(&self) -> bool {
        let deep = |part: &Part| matches!(part, Part::Glob(glob) if glob.windows(2).any(|two| two == b"**"));
        self.anchored && !self.parts.iter().any(deep)
    }

    fn has_globs(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Glob(_)))
    }
}

/// What the glob crate takes as itself.
fn escaped(byte: u8) -> Vec<u8> {
    match byte {
        b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'!' | b'\\' => vec![b'\\', byte],
        _ => vec![byte],
    }
}

/// A name in the words of the glob crate, which gives braces and escaped letters a meaning that is not ours. Else where it can not be
/// understood, and why.
fn read_part(part: &[u8]) -> Result<Part, (usize, &'static str)> {
    let (mut name, mut glob, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(&byte) = part.get(at) {
        match byte {
            b'\\' => {
                at += 1;
                let before = "a backslash stands before what it takes the meaning from";
                let byte = *part.get(at).ok_or((at - 1, before))?;
                name.push(byte);
                glob.extend(escaped(byte));
            }
            b'[' => {
                let end = class_end(&part[at..]).ok_or((at, "this `[` has no `]`"))?;
                glob.extend(&part[at..at + end]);
                at += end - 1;
            }
            b'*' | b'?' => glob.push(byte),
            _ => {
                name.push(byte);
                glob.extend(escaped(byte));
            }
        }
        at += 1;
    }
    let plain: Vec<u8> = name.iter().flat_map(|byte| escaped(*byte)).collect();
    Ok(match plain == glob {
        true => Part::Name(name),
        false => Part::Glob(glob),
    })
}

/// The length of the class of letters that `text` begins with. What stands first in it does not end it.
fn class_end(text: &[u8]) -> Option<usize> {
    let negated = usize::from(matches!(text.get(1), Some(b'!' | b'^')));
    let mut at = 1 + negated;
    loop {
        match text.get(at)? {
            b']' if at > 1 + negated => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}
