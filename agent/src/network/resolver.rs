//! Name servers: those of the lease, or those that whoever raised the network left somewhere, become `/etc/resolv.conf`.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::network::lease::is_domain;

/// The resolver takes no more than three.
const MOST: usize = 3;

/// Writes the resolver's configuration. Without any server what is there stays: an address needs none.
pub fn write(path: &Path, servers: &[String], domains: &[String]) -> io::Result<()> {
    if servers.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    if !domains.is_empty() {
        text += &format!("search {}\n", domains.join(" "));
    }
    for server in servers.iter().take(MOST) {
        text += &format!("nameserver {server}\n");
    }
    // What is there may be a link to the file of a program that does not run here.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::write(path, text)
}

/// Whether names can be resolved as things are.
pub fn is_written(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| {
        text.lines()
            .any(|line| line.trim_start().starts_with("nameserver"))
    })
}

/// The servers and domains that others noted below `run` (`/run`) and `tmp` (`/tmp`): klibc's ipconfig, systemd-networkd,
/// NetworkManager and dracut's own scripts, each in its place.
pub fn noted(run: &Path, tmp: &Path) -> (Vec<String>, Vec<String>) {
    let mut notes = vec![
        run.join("systemd/netif/state"),
        run.join("NetworkManager/resolv.conf"),
        run.join("systemd/resolve/resolv.conf"),
    ];
    notes.extend(named(run, "net-", ".conf"));
    notes.extend(named(&run.join("systemd/netif/leases"), "", ""));
    notes.extend(named(tmp, "net.", ".resolv.conf"));
    let (mut servers, mut domains) = (Vec::new(), Vec::new());
    for note in notes {
        read_note(
            &fs::read_to_string(note).unwrap_or_default(),
            &mut servers,
            &mut domains,
        );
    }
    (servers, domains)
}

fn named(folder: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Lines `KEY=VALUE` or `KEY VALUE`, values in quotes or not; `0.0.0.0` stands for none.
fn read_note(note: &str, servers: &mut Vec<String>, domains: &mut Vec<String>) {
    for line in note.lines() {
        let Some((key, value)) = line.split_once(['=', ' ']) else {
            continue;
        };
        let words = value
            .trim()
            .trim_matches(['\'', '"'])
            .split_ascii_whitespace();
        match key {
            "nameserver" | "DNS" | "IPV4DNS0" | "IPV4DNS1" => servers.extend(
                words
                    .filter(|word| is_server(word) && !servers.contains(&(*word).to_owned()))
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            ),
            "search" | "domain" | "DOMAINS" | "DOMAINNAME" | "DNSDOMAIN" => domains.extend(
                words
                    .filter(|word| is_domain(word) && !domains.contains(&(*word).to_owned()))
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            ),
            _ => {}
        }
    }
}

/// An address, with the link that it belongs to where it has one.
fn is_server(word: &str) -> bool {
    let address = word.split_once('%').map_or(word, |(address, _)| address);
    address
        .parse::<IpAddr>()
        .is_ok_and(|address| !address.is_unspecified())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_others_noted_is_found_wherever_it_is() {
        let cases = [
            (
                "net-eth0.conf",
                "DEVICE='eth0'\nIPV4DNS0='192.0.2.1'\nIPV4DNS1='0.0.0.0'\nDNSDOMAIN='lab.example'\n",
            ),
            (
                "systemd/netif/state",
                "OPER_STATE=routable\nDNS=192.0.2.1\nDOMAINS=lab.example\n",
            ),
            (
                "systemd/netif/leases/2",
                "ADDRESS=192.0.2.5\nDNS=192.0.2.1\nDOMAINNAME=lab.example\n",
            ),
            (
                "NetworkManager/resolv.conf",
                "# made\nsearch lab.example\nnameserver 192.0.2.1\n",
            ),
        ];
        for (name, text) in cases {
            let run = tempfile::tempdir().unwrap();
            let path = run.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            let expected = (vec!["192.0.2.1".to_owned()], vec!["lab.example".to_owned()]);
            assert_eq!(noted(run.path(), Path::new("/nothing")), expected, "{name}");
        }
        let tmp = tempfile::tempdir().unwrap();
        fs::write(
            tmp.path().join("net.eth0.resolv.conf"),
            "nameserver fe80::1%eth0\n",
        )
        .unwrap();
        let (servers, domains) = noted(Path::new("/nothing"), tmp.path());
        assert_eq!(servers, ["fe80::1%eth0"]);
        assert_eq!(domains, [""; 0]);
    }

    #[test]
    fn three_servers_are_written_over_whatever_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        std::os::unix::fs::symlink("/nothing/stub-resolv.conf", &path).unwrap();
        assert!(!is_written(&path));
        let servers = ["192.0.2.1", "192.0.2.2", "fe80::1%2", "192.0.2.4"].map(str::to_owned);
        write(&path, &servers, &["lab.example".to_owned()]).unwrap();
        let expected = "search lab.example\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver fe80::1%2\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert!(is_written(&path));
        write(&path, &[], &[]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            expected,
            "what is there stays"
        );
    }
}
