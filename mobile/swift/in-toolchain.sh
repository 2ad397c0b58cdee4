#!/bin/sh
# Runs a command with a Swift toolchain, in this folder:
#
#     mobile/swift/in-toolchain.sh swift test
#
# With swift on the PATH it just runs the command. Else it runs it, as root, inside the Debian 13
# that .ci/swift-toolchain makes, in which the parts of the checkout lie under their own names.
#
#   FOGCOMPUTE_NATIVE_DIR   folder of libfogcompute_uniffi; default: target/release of the checkout
#   FOGCOMPUTE_SWIFT_ROOT   the Debian 13; default: ~/.cache/fogcompute/trixie
set -eu

package=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
checkout=$(CDPATH='' cd -- "$package/../.." && pwd -P)
native=${FOGCOMPUTE_NATIVE_DIR:-$checkout/target/release}
if [ -z "${FOGCOMPUTE_NATIVE_DIR:-}" ] && ! [ -e "$native/libfogcompute_uniffi.so" ] &&
    ! [ -e "$native/libfogcompute_uniffi.dylib" ]; then
    echo "in-toolchain.sh: no libfogcompute_uniffi in $native:" \
        "run cargo build --release -p fogcompute-uniffi, or set FOGCOMPUTE_NATIVE_DIR" >&2
    exit 66
fi
native=$(CDPATH='' cd -- "$native" && pwd -P)
export FOGCOMPUTE_NATIVE_DIR="$native"

if command -v swift >/dev/null 2>&1; then
    cd "$package"
    exec "$@"
fi

root=${FOGCOMPUTE_SWIFT_ROOT:-${FOGCOMPUTE_CACHE:-$HOME/.cache/fogcompute}/trixie}
if ! [ -x "$root/usr/bin/swiftc" ]; then
    echo "in-toolchain.sh: no swift on the PATH, no toolchain in $root: run .ci/swift-toolchain" >&2
    exit 69
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "in-toolchain.sh: entering $root needs root" >&2
    exit 77
fi

# The mounts belong to a namespace of their own and end with it, however the command ends.
exec unshare --mount --propagation private sh -eu -c '
    root=$1 package=$2 checkout=$3 native=$4
    shift 4
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    for folder in "$package" "$checkout/bindings/vectors" "$checkout/examples" \
        "$checkout/mobile/samples" "$native"; do
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
    done
    exec chroot "$root" env \
        HOME=/root \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        LD_LIBRARY_PATH=/usr/libexec/swift/lib/swift/linux:/usr/libexec/swift/lib \
        sh -c "cd \"\$0\" && exec \"\$@\"" "$package" "$@"
' sh "$root" "$package" "$checkout" "$native" "$@"
