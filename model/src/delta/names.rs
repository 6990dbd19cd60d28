//! What a name is with its version numbers aside: `/lib/modules/6.12.41-amd64/a.ko` and `…/6.12.48-amd64/a.ko` are one
//! family, and so are `libfoo.so.1.2` and `libfoo.so.1.3`.

/// The name, each version number in it made one `#`.
pub fn family(name: &[u8]) -> Vec<u8> {
    let mut family = Vec::with_capacity(name.len());
    let mut bytes = name.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let after = family.last() == Some(&b'#');
        let joins = matches!(byte, b'.' | b'-' | b'+' | b'~' | b'_');
        match byte {
            b'0'..=b'9' if after => {}
            b'0'..=b'9' => family.push(b'#'),
            // Between two numbers it belongs to the version.
            _ if joins && after && bytes.peek().is_some_and(u8::is_ascii_digit) => {}
            _ => family.push(byte),
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::family;

    #[test]
    fn names_that_differ_in_version_numbers_alone_are_one_family() {
        for (one, other, is_one) in [
            (
                "/lib/modules/6.12.41+deb13-amd64/kernel/a.ko",
                "/lib/modules/6.12.48+deb13-amd64/kernel/a.ko",
                true,
            ),
            ("/usr/lib/libfoo.so.1.2", "/usr/lib/libfoo.so.1.13", true),
            ("vmlinuz-6.1.0-37-amd64", "vmlinuz-6.1.0-40-amd64", true),
            ("a-1.2", "a-1.2.3", true),
            ("a-1.2", "b-1.2", false),
            ("a-1.2~rc1", "a-1.3", false),
        ] {
            let families = [one, other].map(|name| family(name.as_bytes()));
            assert_eq!(families[0] == families[1], is_one, "{one} {other}");
        }
        assert_eq!(family(b"libc.so.6"), b"libc.so.#");
        assert_eq!(
            family(b"/boot/vmlinuz-6.1.0-37-amd64"),
            b"/boot/vmlinuz-#-amd#"
        );
        assert_eq!(family(b"README"), b"README");
    }
}
