//! The bench that boots real disks.
