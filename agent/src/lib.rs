//! The clone side.

pub mod store;
pub mod sys;
