//! The model side.

pub mod serve;
