//! What stands at the boot loader of a disk: kernels and what names them, through updates, on disks that are full, and as a reader without a
//! journal sees it after a power cut at each step.
#![allow(clippy::unwrap_used)]

#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/programs.rs"]
mod programs;

mod bls;
#[cfg(feature = "crash-points")]
mod cuts;
mod disk;
mod grub;
mod once;
mod pool;
