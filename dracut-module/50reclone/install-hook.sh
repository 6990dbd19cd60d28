#!/bin/sh
# dracut without systemd sources this while it waits for the root, of which a bare machine has none yet.

# Whoever leaves the emergency shell wants another try. With rd.shell=0 there is no shell, and emergency_shell ends the boot.
if getarg reclone.install= >/dev/null; then
    until /usr/sbin/reclone-install; do
        emergency_shell "reclone: nothing was installed, see above"
    done
fi
# shellcheck disable=SC2154 # job comes from dracut
rm -f -- "$job"
