//! What a file is by its path, and by the first bytes of its content.

/// Ends of paths of files that hold what one person or one machine may know.
const TOKENS: [&str; 14] = [
    "/.netrc",
    "/.git-credentials",
    "/.pgpass",
    "/.my.cnf",
    "/.pypirc",
    "/.vault-token",
    "/.aws/credentials",
    "/.azure/accessTokens.json",
    "/.config/gcloud/credentials.db",
    "/.config/gh/hosts.yml",
    "/.docker/config.json",
    "/.kube/config",
    "/.gnupg/secring.gpg",
    "/.config/rclone/rclone.conf",
];
const HISTORIES: [&str; 11] = [
    "/.bash_history",
    "/.zsh_history",
    "/.ash_history",
    "/.sh_history",
    "/.history",
    "/.python_history",
    "/.mysql_history",
    "/.psql_history",
    "/.sqlite_history",
    "/.lesshst",
    "/.viminfo",
];
/// How secret keys of minisign begin in base64: with a passphrase, and without. Their comment may be any.
const MINISIGN: [&str; 2] = ["RWRTY0Iy", "RWQAAEIy"];
/// Files that are there while a database runs on the folder they are in.
const IN_USE: [&str; 4] = [
    "/postmaster.pid",
    "/aria_log_control",
    "/ib_logfile0",
    "/mongod.lock",
];

const TOKEN: &str = "it holds passwords or tokens: exclude it";
const HISTORY: &str = "it is a history of commands: exclude it";
const DATABASE: &str = "a database is in use here, and a copy of it may be torn: stop it for the publish, or keep or exclude the folder";
const LEASE: &str = "it is a network lease of this machine: exclude it";
const PRIVATE_KEY: &str = "it is a private key: exclude it, or keep it on the clones";
const WIFI: &str = "it holds the key of a wireless network or a password: everybody who can read the store can read it";

/// What a file is whatever it holds.
pub fn by_name(path: &[u8]) -> Option<&'static str> {
    let rooted = [b"/", path].concat();
    let ends = |ends: &[&str]| ends.iter().any(|end| rooted.ends_with(end.as_bytes()));
    let below = |folder: &str| path.starts_with(folder.as_bytes());
    match () {
        () if ends(&HISTORIES) => Some(HISTORY),
        () if ends(&TOKENS) => Some(TOKEN),
        () if ends(&[".keytab"]) => {
            Some("it is a keytab, the password of a machine or a service: keep it on the clones")
        }
        () if ends(&IN_USE) || ends(&["-wal", "-journal"]) && below("var/") => Some(DATABASE),
        () if ends(&[".lease", ".leases"]) && below("var/") => Some(LEASE),
        () if below("var/lib/iwd/") && ends(&[".psk", ".8021x"]) => Some(WIFI),
        () if path == b"etc/machine-id" || path == b"var/lib/dbus/machine-id" => Some(
            "it is this machine's identity: clones have their own, but what reads it here sees it; empty it before the publish",
        ),
        () => None,
    }
}

/// Whether secrets are usual in files of this name or place.
pub fn is_worth_reading(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let ends = |end: &[u8]| name.ends_with(end);
    let places: [&[u8]; 3] = [b"etc/", b"root/", b"var/lib/"];
    let is_place =
        places.iter().any(|place| path.starts_with(place)) && !path.starts_with(b"var/lib/dpkg/");
    is_place
        || ends(b".key")
        || ends(b".pem")
        || ends(b"_key")
        || name.starts_with(b"id_")
        || name == b".npmrc"
}

/// What a file is by its content.
pub fn by_content(path: &[u8], content: &[u8]) -> Option<&'static str> {
    let has = |text: &[u8]| content.windows(text.len()).any(|window| window == text);
    let line_has = |starts: &[&str]| {
        content.split(|byte| *byte == b'\n').any(|line| {
            let line = line.trim_ascii_start();
            starts
                .iter()
                .any(|start| line.starts_with(start.as_bytes()))
        })
    };
    let is_private_key =
        has(b"-----BEGIN ") && has(b" PRIVATE KEY-----") || has(b"-----BEGIN PRIVATE KEY-----");
    let below = |folder: &str| path.starts_with(folder.as_bytes());
    match () {
        () if is_private_key => Some(PRIVATE_KEY),
        () if content.starts_with(b"untrusted comment:") && line_has(&MINISIGN) => Some(
            "it is a secret key of minisign, and who has that of a model publishes for its clones: exclude it, unless it is the one that you publish with, which is left out",
        ),
        () if below("etc/NetworkManager/system-connections/")
            && line_has(&[
                "psk=",
                "wep-key",
                "password=",
                "leap-password=",
                "private-key-password=",
            ]) =>
        {
            Some(WIFI)
        }
        () if below("etc/wpa_supplicant/") && line_has(&["psk=", "password=", "wep_key"]) => {
            Some(WIFI)
        }
        () if below("etc/netplan/") && line_has(&["password:"]) => Some(WIFI),
        () if path.ends_with(b".npmrc") && has(b"_authToken") => Some(TOKEN),
        () => None,
    }
}
