//! The model's side: reads the model's tree, publishes it as signed static files, and looks after those.
//!
//! Its interface is the program `reclone-model`; the modules are public for its own tests alone.

// the ground
pub mod error;
pub mod progress;

// the store
pub mod keys;
pub mod pack_reader;
pub mod store;
pub mod temp_file;

pub mod heads;

// reading the tree
pub mod content;
pub mod exclude;
pub mod folder;
pub mod identify;
pub mod lint;
pub mod live_tree;
pub mod node;
pub mod scan;
pub mod stat_cache;

// publishing it
pub mod frame_plan;
pub mod frame_writer;
pub mod live_packs;
pub mod manifest;
pub mod pack_writer;

pub mod delta;

pub mod add_deltas;
pub mod publish;

// the commands
pub mod base_reader;
pub mod cli;
pub mod export;
pub mod list;
pub mod listen;
pub mod netboot;
pub mod prune;
pub mod run;
pub mod serve;
pub mod setup;
pub mod verify;
