//! Disks that fill, fail, turn read-only or rot, records that are lost, and two agents at once: what the user is told, that the
//! old generation stays whole, and that the next run without the fault comes to its end. `docs/testing.md` has the table.
#![allow(clippy::unwrap_used)]

mod disk;
mod errors;
mod faulty_disk;
mod full;
mod read_only;
mod rot;
mod state;
mod together;

#[path = "../support/initramfs.rs"]
mod initramfs;
#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/versions.rs"]
mod versions;
