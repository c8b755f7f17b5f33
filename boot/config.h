/*
 * Owns:     the grammar of \barvisor.cfg.
 * Promises: pure; an error names the line and what was expected; nothing is allocated.
 * Needs:    the file's bytes, which must outlive the result (strings point into it; it is modified).
 * Never:    UEFI.
 *
 *   file    = { line }.            line = [ key "=" value ] [ "#" comment ] newline.
 *   guest   = path                 required: ELF with a PVH note, on the boot volume (\guest.elf)
 *   module  = path                 optional; handed to the guest, and a section for devices
 *   cmdline = text                 the rest of the line, as it is; may be empty
 *   ram     = amount [ split amount ]
 *                                  guest RAM (default 64); what is above `split` (default 3072) starts at 4 GiB
 *   device  = name { option }      repeated; name: lab; options are words handed to the device
 *   console = serial | none        where the hypervisor's log goes (default serial)
 *   screen  = on | off             the log also on the machine's screen (default off)
 *   log     = quiet | normal       quiet: only banner, reports and the guest's own output (default normal)
 *
 *   amount  = decimal digits, then nothing or M (MiB), or G (GiB).
 *
 * Text is printable ASCII and tabs; lines end with LF or CR LF, the last one may lack both. Blank space around
 * key and value is dropped. Every key but `device` appears at most once. A '#' starts a comment at the start of
 * a line or after blank space, but never in the value of `cmdline`. '/' in a path becomes '\'.
 */
#ifndef BOOT_CONFIG_H
#define BOOT_CONFIG_H

#include "hv/base/types.h"

#define CONFIG_MAX_DEVICES       32u
#define CONFIG_MAX_OPTIONS       8u
#define CONFIG_MAX_PATH_BYTES    255u /* without the NUL */
#define CONFIG_MAX_RAM_MIB       (1u << 20)
#define CONFIG_MAX_SPLIT_MIB     3072u /* the device window of the virtual platform starts at 3 GiB */
#define CONFIG_DEFAULT_RAM_MIB   64u
#define CONFIG_DEFAULT_SPLIT_MIB 3072u

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
    uint64_t split_bytes; /* may exceed ram_bytes: then all RAM is low */
    unsigned device_count;
    struct config_device device[CONFIG_MAX_DEVICES];
    bool serial;
    bool screen;
    bool quiet;
};

struct config_error {
    unsigned line; /* 1-based; 0: the file as a whole */
    const char *expected;
};

/*
 * `text` has room for a NUL at text[bytes]. False: *error says where the first mistake is and what was
 * expected there (reads well after "expected "; static), and *config is of no use.
 */
bool config_parse(char *text, size_t bytes, struct config *config, struct config_error *error);

#endif
