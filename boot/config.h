/*
 * Owns:     the grammar of \barvisor.cfg.
 * Promises: pure; an error names the line and what was expected; nothing is allocated.
 * Needs:    the file's bytes, which must outlive the result (strings point into it; it is modified).
 * Never:    UEFI.
 *
 *   file    = { line }.            line  = [ entry ] [ "#" comment ] newline.
 *   entry   = key "=" value.       Blank space around key and value is dropped.
 *   guest   = path                 ELF with a PVH note, on the boot volume (\guest.elf)
 *   module  = path                 optional; handed to the guest, and a section for devices
 *   cmdline = text                 the rest of the line, as it is
 *   ram     = MiB [ split MiB ]    guest RAM; what is above `split` starts at 4 GiB. Default split 3072
 *   device  = name { option }      repeated; name: lab; options are words handed to the device
 *   console = serial | none        where the hypervisor's log goes (default serial)
 *   log     = quiet | normal       quiet: only banner, reports and the guest's own output
 */
#ifndef BOOT_CONFIG_H
#define BOOT_CONFIG_H

#include "hv/base/types.h"

#define CONFIG_MAX_DEVICES 8u
#define CONFIG_MAX_OPTIONS 8u
#define CONFIG_MAX_RAM_MIB (1u << 20)

struct config_device {
    const char *name;
    unsigned option_count;
    const char *option[CONFIG_MAX_OPTIONS];
};

struct config {
    const char *guest;   /* required */
    const char *module;  /* NULL: none */
    const char *cmdline; /* "" when absent */
    uint64_t ram_bytes;
    uint64_t split_bytes;
    unsigned device_count;
    struct config_device device[CONFIG_MAX_DEVICES];
    bool serial;
    bool quiet;
};

struct config_error {
    unsigned line; /* 1-based; 0: the file as a whole */
    const char *expected;
};

/* `text` has room for a NUL at text[bytes]. False: *error says where and what was expected. */
bool config_parse(char *text, size_t bytes, struct config *config, struct config_error *error);

#endif
