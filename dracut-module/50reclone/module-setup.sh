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
}

install() {
    inst /usr/sbin/reclone
    if [ -d /etc/reclone ]; then
        find /etc/reclone -type f -print0 | while IFS= read -r -d '' file; do inst_simple "$file"; done
    fi
    # shellcheck disable=SC2154 # moddir, initdir and the folder of units come from dracut
    if dracut_module_included dracut-systemd; then
        inst_simple "$moddir/reclone.service" "$systemdsystemunitdir/reclone.service"
        mkdir -p "$initdir/$systemdsystemunitdir/initrd-root-fs.target.requires"
        ln_r "$systemdsystemunitdir/reclone.service" "$systemdsystemunitdir/initrd-root-fs.target.requires/reclone.service"
    else
        inst_hook pre-pivot 05 "$moddir/reclone.sh"
    fi
}
