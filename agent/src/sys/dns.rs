//! Name resolution in a static program.
//!
//! glibc resolves names by `/etc/hosts` and DNS without any shared library, but `hosts:` in `/etc/nsswitch.conf` can make
//! a static program load the running system's modules, which may be of another glibc. This forbids it.

use std::ffi::{CStr, c_char, c_int};

unsafe extern "C" {
    /// Sets the services of one database as `nsswitch.conf` would; later readings of the file do not change it.
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
}

/// Makes host names resolve by `/etc/hosts` and DNS only. To be called before any thread looks up a name.
pub fn use_files_and_dns() {
    let (database, services): (&CStr, &CStr) = (c"hosts", c"files dns");
    // SAFETY: both are strings that end in a zero byte and live for ever; glibc copies what it keeps.
    let status = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    if status != 0 {
        log::warn!(
            "could not restrict name resolution to files and DNS; going on with nsswitch.conf"
        );
    }
}
