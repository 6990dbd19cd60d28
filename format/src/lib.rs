//! What model and clone agree on.
