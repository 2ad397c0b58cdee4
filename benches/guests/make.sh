#!/usr/bin/env bash
# Compiles the guests, with clang and lld.
set -euo pipefail
cd "$(dirname "$0")"
for guest in fib keep mandelbrot sha256; do
    clang --target=wasm32 -O2 -nostdlib -ffreestanding -fno-builtin -Wall -Wextra \
        -Wl,--no-entry -Wl,--strip-all -o "$guest.wasm" "$guest.c"
done
