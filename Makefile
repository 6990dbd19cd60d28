# make build, make test and make demo do their own set-up.
RELEASE = target/x86_64-unknown-linux-gnu/release
SCRIPTS = .ci/run fuzz/quick install/lay-out install/boot-loader units/fresh-home units/apply units/restored.d/50-reload.example qemu-tests/setup qemu-tests/setup-bench qemu-tests/tree qemu-tests/upgrade $(shell find initramfs-tools-hook -type f) $(wildcard dracut-module/50reclone/*.sh completions/bash/*) agent/tests/completions/ask.bash

.PHONY: setup build check test test-all boot boot-all matrix power-cut power-cut-quick power-cut-teeth soak bench demo fuzz fuzz-quick deb install-model install-clone

setup:
	qemu-tests/setup

build: setup
	cargo build --release --package reclone --package reclone-model
	@stat --format '%n: %s bytes' $(RELEASE)/reclone

check: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --package reclone --all-targets --features crash-points -- -D warnings
	cargo test --workspace --exclude qemu-tests
	cargo test --package reclone --features crash-points --test killed --test loader
	shellcheck $(SCRIPTS)

demo: build
	cargo run --quiet --package qemu-tests --bin demo

# A machine has one processor, so two run at a time.
boot: build
	cargo test --package qemu-tests -- --test-threads=2

# With the cases that take minutes.
boot-all: build
	cargo test --package qemu-tests -- --test-threads=2 --include-ignored

# Every system through every boot case. MATRIX=trixie, for one, takes those with that in their name.
matrix: build
	cargo run --quiet --package qemu-tests --bin matrix -- $(MATRIX)

# Records a clone's writes on every file system and boots from its disk as any power cut could have left it. POINTS=n bounds how
# many cuts are tried, KINDS=xfs, for one, takes file systems with that in their name, SEED=n repeats a run.
power-cut power-cut-quick: build
	cargo build --quiet --package qemu-tests --bins
	POINTS=$(POINTS) KINDS=$(KINDS) SEED=$(SEED) cargo run --quiet --package qemu-tests --bin power_cut
power-cut-quick: POINTS = 1002
power-cut-quick: KINDS = ext4-4k-ordered,xfs,systemd-boot

# The test of that test: an agent that leaves out a barrier must be noticed. OMIT=staged, for one, tries that one alone.
power-cut-teeth: build
	cargo build --package reclone --features crash-points
	install -D -t target/crash-points target/x86_64-unknown-linux-gnu/debug/reclone
	cargo build --quiet --package qemu-tests --bins
	OMIT=$(OMIT) AGENT=target/crash-points/reclone cargo run --quiet --package qemu-tests --bin power_cut_teeth

# Random histories of a model, its store and a clone, held against what must be. STEPS=n and MINUTES=n bound it, SEED=n repeats a
# run, DISK=xfs is another file system for the clone than ext4.
soak: setup
	STEPS=$(or $(STEPS),10000) MINUTES=$(or $(MINUTES),60) SEED=$(SEED) DISK=$(DISK) cargo test --quiet --package reclone --features crash-points --test soak

# What reclone costs, beside its peers; BENCH="rsync update 100mbit", for one, measures that alone: words are docs/benchmarks.md's.
# BENCH_SIZE=small takes small trees. Takes a while and some 40 GB below target/bench; wants a quiet machine.
bench: build
	qemu-tests/setup-bench
	BENCH_RUNS=$(BENCH_RUNS) BENCH_SIZE=$(BENCH_SIZE) cargo run --quiet --package qemu-tests --bin bench -- $(RELEASE) target/bench $(BENCH)

fuzz-quick:
	fuzz/quick

# Each target for FUZZ_SECONDS; what they learn stays in fuzz/corpus.
fuzz:
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) fuzz/quick

test: check boot power-cut-quick power-cut-teeth fuzz-quick

# Some hours without KVM.
test-all: check boot-all matrix power-cut power-cut-teeth fuzz-quick

# Debian packages, in target/deb; made and looked at by Debian's own tools.
deb:
	qemu-tests/setup debhelper dpkg-dev fakeroot lintian
	rm -rf target/deb
	fakeroot debian/rules clean binary
	lintian --fail-on error,warning --display-info target/deb/*.deb

# What `make build` made, on this machine or below DESTDIR. Neither touches a configuration.
install-model:
	install -D -t $(DESTDIR)/usr/sbin $(RELEASE)/reclone-model
	install -D -m 644 -t $(DESTDIR)/usr/share/man/man8 docs/man/reclone-model.8
	install -D -m 644 -t $(DESTDIR)/usr/share/bash-completion/completions completions/bash/reclone-model
	install -D -m 644 -t $(DESTDIR)/usr/share/zsh/vendor-completions completions/zsh/_reclone-model
	install -D -m 644 -t $(DESTDIR)/usr/share/fish/vendor_completions.d completions/fish/reclone-model.fish

install-clone:
	install -D -t $(DESTDIR)/usr/sbin $(RELEASE)/reclone
	install -D -t $(DESTDIR)/usr/share/initramfs-tools/hooks initramfs-tools-hook/hooks/reclone
	install -D -t $(DESTDIR)/usr/share/initramfs-tools/scripts/local-top initramfs-tools-hook/scripts/local-top/reclone
	install -D -t $(DESTDIR)/usr/share/initramfs-tools/scripts/local-bottom initramfs-tools-hook/scripts/local-bottom/reclone
	install -D -t $(DESTDIR)/usr/lib/dracut/modules.d/50reclone $(wildcard dracut-module/50reclone/*.sh)
	install -D -m 644 -t $(DESTDIR)/usr/lib/dracut/modules.d/50reclone $(wildcard dracut-module/50reclone/*.service)
	install -D -m 644 dracut-module/reclone.conf $(DESTDIR)/usr/lib/dracut/dracut.conf.d/50-reclone.conf
	install -D -m 644 -t $(DESTDIR)/usr/share/man/man8 docs/man/reclone.8
	install -D -m 644 -t $(DESTDIR)/usr/share/man/man5 docs/man/reclone.conf.5 docs/man/reclone-policy.5
	install -D -m 644 -t $(DESTDIR)/usr/share/bash-completion/completions completions/bash/reclone
	install -D -m 644 -t $(DESTDIR)/usr/share/zsh/vendor-completions completions/zsh/_reclone
	install -D -m 644 -t $(DESTDIR)/usr/share/fish/vendor_completions.d completions/fish/reclone.fish
	install -D -t $(DESTDIR)/usr/lib/reclone install/lay-out install/boot-loader units/fresh-home units/apply
	install -D -m 644 -t $(DESTDIR)/usr/lib/systemd/system $(wildcard units/*.service units/*.timer units/*.path)
	install -D -m 644 -t $(DESTDIR)/usr/share/doc/reclone/user@.service.d units/user@.service.d/50-reclone.conf
	install -D -m 644 -t $(DESTDIR)/usr/share/doc/reclone/restored.d units/restored.d/50-reload.example
