# make build, make test and make demo do their own set-up. Folders that a later change brings are used once they are there.
RELEASE = target/x86_64-unknown-linux-gnu/release
SCRIPTS = .ci/run qemu-tests/setup qemu-tests/tree $(shell find initramfs-tools-hook -type f)

.PHONY: setup build check test boot fuzz-quick

setup:
	qemu-tests/setup

build: setup
	cargo build --release --package reclone --package reclone-model
	@stat --format '%n: %s bytes' $(RELEASE)/reclone

check: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --exclude qemu-tests
	shellcheck $(SCRIPTS)

boot: build
	cargo test --package qemu-tests -- --test-threads=1

fuzz-quick:
	@if [ -x fuzz/quick ]; then fuzz/quick; else echo "fuzz-quick: SKIPPED, no fuzz/quick"; fi

test: check boot fuzz-quick
