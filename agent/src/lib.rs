//! The clone side.
