#!/bin/bash
# dracut module: puts the agent, its configuration and what it needs of the system into the initramfs, and starts it once
# the root partition is mounted.

# Only where a file of dracut.conf.d asks for it; ours does, on a model, too: without a store or a generation the boot leaves the root as it is.
check() {
    require_binaries /usr/sbin/reclone || return 1
    return 255
}

depends() {
    echo base
}

installkernel() {
    # Not only what this machine uses now: none of these may be in use when the initramfs is made.
    hostonly='' instmods overlay erofs loop 8021q
    instmods virtio_net hv_netvsc vmxnet3 xen-netfront '=drivers/net/ethernet' '=drivers/net/phy' '=drivers/net/usb'
    # A USB stick: its controller, and its file system with the tables for names on it.
    if grep -qs '^[[:space:]]*offline-store[[:space:]]*=' /etc/reclone/reclone.conf; then
        hostonly='' instmods xhci_pci ehci_pci ohci_pci uhci_hcd usb-storage uas sd_mod
        hostonly='' instmods vfat exfat ext4 nls_cp437 nls_ascii nls_iso8859-1 nls_utf8
    fi
    if [ "${RECLONE_INSTALL-}" = y ]; then
        hostonly='' instmods ext4 vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8
    fi
}

# For machines that have nothing yet; `reclone-model netboot` asks for it. No word on the kernel command line can name their root.
install_for_bare_machines() {
    inst_multiple sfdisk mke2fs mkfs.vfat blkid udevadm
    inst /usr/lib/reclone/lay-out
    # shellcheck disable=SC2154 # moddir and initdir come from dracut
    inst_script "$moddir/install.sh" /usr/sbin/reclone-install
    # shellcheck disable=SC2154
    mkdir -p "$initdir/etc/cmdline.d"
    echo root=/dev/reclone-root >"$initdir/etc/cmdline.d/50-reclone.conf"
    if dracut_module_included dracut-systemd; then
        require_unit reclone-install.service initrd-root-device.target
    else
        inst_hook initqueue/settled 50 "$moddir/install-hook.sh"
    fi
}

# Adds a unit of ours that a target of systemd's is not to be reached without.
require_unit() {
    # shellcheck disable=SC2154 # so does the folder of units
    inst_simple "$moddir/$1" "$systemdsystemunitdir/$1"
    mkdir -p "$initdir/$systemdsystemunitdir/$2.requires"
    ln_r "$systemdsystemunitdir/$1" "$systemdsystemunitdir/$2.requires/$1"
}

install() {
    inst /usr/sbin/reclone
    if [ -d /etc/reclone ]; then
        find /etc/reclone -type f -print0 | while IFS= read -r -d '' file; do inst_simple "$file"; done
    fi
    # A network boot may go on in a generation's own kernel and initramfs.
    inst_multiple chroot
    inst /usr/lib/reclone/boot-loader
    [ "${RECLONE_INSTALL-}" != y ] || install_for_bare_machines
    if dracut_module_included dracut-systemd; then
        require_unit reclone.service initrd-root-fs.target
    else
        inst_hook pre-pivot 05 "$moddir/reclone.sh"
    fi
}
