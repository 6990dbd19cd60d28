//! The clone side, in the order in which a generation passes through it.

// the ground
pub mod command_line;
pub mod config;
pub mod error;
pub mod initramfs;
pub mod modules;
pub mod network;
pub mod partition;
pub mod store;
pub mod sys;

// the clone's own folder
pub mod barrier;
pub mod pool;
pub mod state;

// from the store into the pool: plan, fetch, stage, image, commit
pub mod accept;
pub mod bases;
pub mod bring;
pub mod changes;
pub mod commit;
pub mod fetch;
pub mod follow;
pub mod held;
pub mod image;
pub mod kernels;
pub mod manifest;
pub mod memory;
pub mod open_pack;
pub mod plain_root;
pub mod plan;
pub mod preview;
pub mod route;
pub mod stage;
pub mod sync;
pub mod wanted;
pub mod way;

// from the pool to a root
pub mod assemble;
pub mod copy;
pub mod keep;
pub mod policy;
pub mod rebase;
pub mod session;
pub mod thaw;

// a part of a tree, made exact in a running system
pub mod aside;
pub mod build;
pub mod compare;
pub mod hooks;
pub mod place;
pub mod restore;
pub mod running;
pub mod tree;
pub mod view;

// care for the pool
pub mod explain;
pub mod firmware;
pub mod good;
pub mod loader;
pub mod prune;
pub mod repair;
pub mod rollback;
pub mod status;
pub mod trial;
pub mod verify;

// around the boot
pub mod boot;
pub mod enroll;
pub mod progress;
pub mod shutdown;

// the program
pub mod cli;
pub mod run;

pub use error::{Error, Result};
