//! The key `offline-store`: a store on a partition that may be there or not, such as that of a USB stick.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// What fstab, too, has before the name of a partition that is not a device's.
const TAGS: [&str; 4] = ["LABEL=", "UUID=", "PARTLABEL=", "PARTUUID="];

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineStore {
    /// The partition, as fstab names partitions.
    pub device: String,
    /// The store's folder, relative to the top of its file system; empty where it is the top.
    pub folder: PathBuf,
}

impl OfflineStore {
    /// `DEVICE` or `DEVICE:/FOLDER`. A name of udev's may have a colon in it, but none with a slash behind.
    pub fn parse(value: &str) -> Result<Self, String> {
        let (device, folder) = value.split_once(":/").unwrap_or((value, ""));
        let folder = Path::new(folder.trim_matches('/'));
        let is_tagged = |tag: &&str| device.strip_prefix(*tag).is_some_and(|it| !it.is_empty());
        if !device.starts_with('/') && !TAGS.iter().any(is_tagged) {
            return Err(format!(
                "`{value}` is not a partition, as in `LABEL=RECLONE`, `UUID=…` or `/dev/…`, with or without a folder, as in `LABEL=RECLONE:/store`"
            ));
        }
        let is_plain = |part| matches!(part, Component::Normal(_));
        match folder.components().all(is_plain) {
            true => Ok(Self {
                device: device.into(),
                folder: folder.into(),
            }),
            false => Err(format!("`{value}` has `..` in its folder")),
        }
    }
}

/// As the configuration has it.
impl fmt::Display for OfflineStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device)?;
        match self.folder.as_os_str().is_empty() {
            true => Ok(()),
            false => write!(f, ":/{}", self.folder.display()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_as_in_fstab_with_or_without_a_folder() {
        let cases = [
            ("LABEL=RECLONE", "LABEL=RECLONE", ""),
            ("LABEL=RECLONE:/", "LABEL=RECLONE", ""),
            ("LABEL=MY STICK:/a/b/", "LABEL=MY STICK", "a/b"),
            ("LABEL=a:b:/c", "LABEL=a:b", "c"),
            ("UUID=1234-ABCD", "UUID=1234-ABCD", ""),
            (
                "/dev/disk/by-path/pci-0000:00:14.0-usb-0:1:/store",
                "/dev/disk/by-path/pci-0000:00:14.0-usb-0:1",
                "store",
            ),
        ];
        for (value, device, folder) in cases {
            let found = OfflineStore::parse(value).unwrap();
            assert_eq!(
                (&*found.device, found.folder.to_str()),
                (device, Some(folder))
            );
            let shown = OfflineStore::parse(&found.to_string()).unwrap();
            assert_eq!(shown, found, "{value}");
        }
    }

    #[test]
    fn what_names_no_partition_or_leads_out_of_it_is_refused() {
        for value in [
            "RECLONE",
            "LABEL=",
            "label=x",
            "http://model/",
            "x=/dev/sda",
        ] {
            let complaint = OfflineStore::parse(value).unwrap_err();
            assert!(complaint.contains("is not a partition"), "{complaint}");
        }
        let complaint = OfflineStore::parse("LABEL=x:/a/../..").unwrap_err();
        assert_eq!(complaint, "`LABEL=x:/a/../..` has `..` in its folder");
    }
}
