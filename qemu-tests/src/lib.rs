//! The bench that boots real disks: a tree becomes a disk, a machine boots it, a console asks it questions.

pub mod bios;
pub mod certificates;
pub mod console;
pub mod facts;
pub mod folder;
pub mod gpt;
pub mod grub;
pub mod image;
pub mod initramfs;
pub mod kernels;
pub mod launch;
pub mod layout;
pub mod machine;
pub mod matrix;
mod poll;
pub mod pool;
pub mod power_cut;
pub mod screen;
pub mod server;
pub mod site;
pub mod trunk;
pub mod uefi;
