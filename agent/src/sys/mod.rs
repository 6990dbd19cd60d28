//! What the kernel and the C library offer and std does not: the only home of `unsafe`.
#![allow(unsafe_code)]

pub mod beneath;
pub mod dns;
pub mod freeze;
pub mod kexec;
pub mod loop_device;
pub mod mount;
pub mod net;
pub mod random;
pub mod watchdog;
pub mod xattr;
