#!/bin/bash
# Make a bootable disk: GPT with one EFI system partition (FAT), without root and without loop mounts.
#
#   mkimage.sh [-e IMAGE.efi] OUT.img CFG [GUEST.elf]
#
# The volume holds \EFI\BOOT\BOOTX64.EFI, \barvisor.cfg and, when given, \guest.elf. Identifiers and times
# are fixed, so the same input gives the same bytes.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

efi=build/barvisor.efi
if [ "${1:-}" = -e ]; then
    efi=$2
    shift 2
fi
if [ $# -lt 2 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
out=$1
cfg=$2
guest=${3:-}

disk_sectors=$((64 * 2048))
first_sector=2048
last_sector=$((disk_sectors - 2048 - 1))
part_sectors=$((last_sector - first_sector + 1))

export SOURCE_DATE_EPOCH=946681200 TZ=UTC MTOOLS_SKIP_CHECK=1
work=$(mktemp -d "${TMPDIR:-/tmp}/mkimage.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The file system is made in a file of its own and then placed into the partition.
truncate -s $((part_sectors * 512)) "$work/esp"
mkfs.fat -F 32 -i BA123456 -n BARVISOR --invariant "$work/esp" > /dev/null
mkdir -p "$work/EFI/BOOT"
cp "$efi" "$work/EFI/BOOT/BOOTX64.EFI"
cp "$cfg" "$work/barvisor.cfg"
files=("$work/EFI" "$work/barvisor.cfg")
if [ -n "$guest" ]; then
    cp "$guest" "$work/guest.elf"
    files+=("$work/guest.elf")
fi
find "$work" -mindepth 1 ! -name esp -exec touch -d @$SOURCE_DATE_EPOCH {} +
mcopy -m -s -i "$work/esp" "${files[@]}" ::/

truncate -s $((disk_sectors * 512)) "$work/disk"
sgdisk --clear --disk-guid=BA12BA12-0000-4000-8000-000000000001 \
    --new="1:$first_sector:$last_sector" --typecode=1:ef00 --change-name=1:barvisor \
    --partition-guid=1:BA12BA12-0000-4000-8000-000000000002 "$work/disk" > /dev/null
dd if="$work/esp" of="$work/disk" bs=1M seek=$((first_sector / 2048)) conv=notrunc,sparse status=none
mkdir -p "$(dirname "$out")"
mv -f "$work/disk" "$out"
