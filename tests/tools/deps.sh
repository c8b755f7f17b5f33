#!/bin/bash
# The packages that a target needs: check, and install what is missing.
#
#   deps.sh build      only check; a missing tool is named with the package that has it
#   deps.sh run|test   check; on Debian and Ubuntu install what is missing (as root or through sudo)
#   deps.sh none       nothing
#
# Exit 2: something is missing and was not installed.
set -u

build=(nasm gnu-efi mtools dosfstools gdisk gcc libc6-dev binutils make)
# vgabios and bochsbios are named because bochs takes seabios instead, whose VGA BIOS it cannot use here.
run=("${build[@]}" bochs bochsbios vgabios bochs-term qemu-system-x86 ovmf python3)
test=("${run[@]}" python3-pytest clang libclang-rt-14-dev libcmocka-dev libunicorn-dev libzydis-dev gdb gcovr patch acpica-tools
    clang-format clang-tidy cppcheck shellcheck)

tool_of() {
    case $1 in
    nasm) echo nasm ;;
    gnu-efi) echo /usr/lib/crt0-efi-x86_64.o ;;
    mtools) echo mcopy ;;
    dosfstools) echo mkfs.fat ;;
    gdisk) echo sgdisk ;;
    gcc) echo gcc ;;
    libc6-dev) echo /usr/include/stdlib.h ;;
    binutils) echo ld ;;
    make) echo make ;;
    esac
}

check_tools() {
    local package tool bad=0
    for package in "${build[@]}"; do
        tool=$(tool_of "$package")
        if ! PATH=$PATH:/usr/sbin:/sbin command -v "$tool" > /dev/null && [ ! -e "$tool" ]; then
            echo "packages: $tool is missing; the Debian package $package has it" >&2
            bad=2
        fi
    done
    return $bad
}

case ${1:-} in
none) exit 0 ;;
build) check_tools && exit 0 || exit 2 ;;
run) wanted=("${run[@]}") ;;
test) wanted=("${test[@]}") ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    echo "packages: this is not Debian or Ubuntu; 'make $1' needs what these packages hold:" >&2
    echo "packages:   ${wanted[*]}" >&2
    # Somebody who has installed them by other means says so.
    [ "${BARVISOR_DEPS:-}" = skip ] && exit 0
    echo "packages: install them and call again with BARVISOR_DEPS=skip" >&2
    exit 2
fi

installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2> /dev/null |
    sed -n 's/ installed$//p')
missing=()
for package in "${wanted[@]}"; do
    grep -qx -- "$package" <<< "$installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
        echo "packages: 'make $1' needs: ${missing[*]}" >&2
        echo "packages: not root and no sudo here; install them and call again" >&2
        exit 2
    fi
    root=(sudo)
fi
echo "packages: 'make $1' needs these packages, installing them with apt-get: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt_get() {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" > "$log" 2>&1
}
apt_get update || echo "packages: apt-get update failed; trying with the lists that are there" >&2
if ! apt_get install --no-install-recommends "${missing[@]}"; then
    tail -n 20 "$log" >&2
    echo "packages: could not install: ${missing[*]}" >&2
    exit 2
fi
