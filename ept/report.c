#include "ept/entry.h"

#include "hv/base/log.h"

void pt_dump_walk(const struct pt_root *root, uint64_t addr, const char *room)
{
    hpa_t table = root->root;
    struct pt_leaf leaf;

    (void)pt_lookup(root, addr, &leaf);
    log_line(room, "%s walk of %012llx", root->fmt->name, (unsigned long long)(addr & INPUT_MASK));
    for (unsigned level = PT_LEVELS; level >= leaf.level; level--) {
        const uint64_t *entry = slot(table, addr, level);
        uint64_t value = load(entry);

        log_line(room, "  level %u at %llx: %016llx %s", level,
                 (unsigned long long)direct_to_hpa(entry).v, (unsigned long long)value,
                 level > leaf.level ? "table"
                 : leaf.present     ? "leaf"
                                    : "empty");
        table = next_table(value);
    }
    if (leaf.present)
        log_line(room, "  frame %llx %c%c%c %s%s", (unsigned long long)leaf.frame.v,
                 leaf.attr.rights & PT_R ? 'r' : '-', leaf.attr.rights & PT_W ? 'w' : '-',
                 leaf.attr.rights & PT_X ? 'x' : '-', memtype_name(leaf.attr.memtype),
                 leaf.attr.ignore_pat ? " ipat" : "");
}

#define FNV_BASIS 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

static uint64_t fnv(uint64_t hash, uint64_t word)
{
    for (unsigned i = 0; i < sizeof(word); i++, word >>= 8)
        hash = (hash ^ (word & 0xff)) * FNV_PRIME;
    return hash;
}

static uint64_t hash_table(const struct pt_format *fmt, hpa_t table, unsigned level, uint64_t addr,
                           uint64_t hash)
{
    const uint64_t *entry = direct(table);

    for (unsigned i = 0; i < ENTRIES; i++, addr += pt_span(level)) {
        uint64_t value = load(entry + i);

        if (value != 0 && pt_is_leaf(fmt, value, level))
            hash = fnv(fnv(hash, addr), value & ~fmt->ad_mask);
        else if (value != 0)
            hash = hash_table(fmt, next_table(value), level - 1, addr, hash);
    }
    return hash;
}

uint64_t pt_hash(const struct pt_root *root)
{
    return hash_table(root->fmt, root->root, PT_LEVELS, 0, FNV_BASIS);
}
