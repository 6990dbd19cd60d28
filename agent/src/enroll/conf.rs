//! The text of the configuration, as `reclone enroll` changes it. Lines that somebody else wrote are left as they are.

/// The line that it begins with.
const MARK: &str = "# By `reclone enroll`; `reclone unenroll` takes these lines out again.";
/// Keys that `reclone enroll` may write.
const OWN: [&str; 7] = ["store", "key", "model", "ca", "pin", "token-file", "proxy"];
/// What makes a clone of a machine as well.
const OTHERS: [&str; 2] = ["pool-device", "offline-store"];

/// Keys and their values.
pub type Settings = Vec<(&'static str, String)>;

/// The text with these settings in place of all that it says of whom to follow.
pub fn with(old: &str, settings: &Settings) -> String {
    let mut text = format!("{MARK}\n");
    for (key, value) in settings {
        text += &format!("{key} = {value}\n");
    }
    for line in old.lines().filter(|line| !is_of(line, &OWN)) {
        text += line;
        text.push('\n');
    }
    text
}

/// The text without all that makes a machine a clone, none where nothing is left, and the lines that went although nobody but
/// their writer knows them.
pub fn without(old: &str) -> (Option<String>, Vec<String>) {
    let (mut text, mut lost) = (String::new(), Vec::new());
    for line in old.lines() {
        if is_of(line, &OWN) {
            continue;
        }
        if is_of(line, &OTHERS) {
            lost.push(line.to_owned());
        } else {
            text += line;
            text.push('\n');
        }
    }
    ((!text.trim().is_empty()).then_some(text), lost)
}

fn is_of(line: &str, keys: &[&str]) -> bool {
    let key = line.split_once('=').map(|(key, _)| key.trim());
    line == MARK || key.is_some_and(|key| keys.contains(&key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_wrote_comes_through() {
        let settings = vec![("store", "http://b".to_owned()), ("key", "K".to_owned())];
        let new = format!("{MARK}\nstore = http://b\nkey = K\n");
        assert_eq!(with("", &settings), new);
        assert_eq!(without(&new), (None, vec![]));
        // Twice is as good as once.
        assert_eq!(with(&new, &settings), new);
        let old = "# mine\nstore = http://a\nmodel=m\ntimeout = 9\npool-device = LABEL=p\noffline-store=LABEL=s\n# key = x\n";
        let rest = "# mine\ntimeout = 9\npool-device = LABEL=p\noffline-store=LABEL=s\n# key = x\n";
        assert_eq!(with(old, &settings), format!("{new}{rest}"));
        let (left, lost) = without(&with(old, &settings));
        assert_eq!(left.unwrap(), "# mine\ntimeout = 9\n# key = x\n");
        assert_eq!(lost, ["pool-device = LABEL=p", "offline-store=LABEL=s"]);
    }
}
