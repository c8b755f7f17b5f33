#include "tests/fake/iospace.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fake/host.h"

#define PIECES   64u
#define MAPPINGS 8u

static struct {
    uint64_t base, count;
    uint8_t *bytes;
} pieces[PIECES];
static unsigned piece_count;

static struct {
    uint8_t *va, *real;
    uint64_t count;
    bool writeable;
} mappings[MAPPINGS];

uint32_t fake_io_protect;
unsigned fake_io_live, fake_io_refused;

void fake_io_reset(void)
{
    assert_int_equal(fake_io_live, 0);
    piece_count = 0;
    fake_io_refused = 0;
}

void fake_io_add(uint64_t base, void *bytes, uint64_t count)
{
    assert_true(piece_count < PIECES);
    pieces[piece_count].base = base;
    pieces[piece_count].bytes = bytes;
    pieces[piece_count++].count = count;
}

static uint8_t *find(uint64_t base, uint64_t count)
{
    for (unsigned i = 0; i < piece_count; i++)
        if (base >= pieces[i].base && base - pieces[i].base <= pieces[i].count &&
            count <= pieces[i].count - (base - pieces[i].base))
            return pieces[i].bytes + (base - pieces[i].base);
    return NULL;
}

hv_status_t hv_io_space_map(hpa_t phys, uint64_t bytes, uint32_t protect, void **va)
{
    uint8_t *real = find(phys.v, bytes);
    unsigned slot = 0;

    if (bytes == 0)
        return HV_E_INVALID_PARAMETER_2;
    if (!real) {
        fake_io_refused++;
        return HV_E_ACCESS_DENIED;
    }
    while (mappings[slot].va)
        assert_true(++slot < MAPPINGS);
    mappings[slot].va = malloc(bytes);
    memcpy(mappings[slot].va, real, bytes);
    mappings[slot].real = real;
    mappings[slot].count = bytes;
    mappings[slot].writeable = (protect & HV_PAGE_READWRITE) != 0;
    fake_io_protect = protect;
    fake_io_live++;
    *va = mappings[slot].va;
    return HV_OK;
}

hv_status_t hv_io_space_unmap(void *va, uint64_t bytes)
{
    for (unsigned i = 0; i < MAPPINGS; i++) {
        if (!va || mappings[i].va != va)
            continue;
        assert_int_equal(mappings[i].count, bytes);
        if (mappings[i].writeable)
            memcpy(mappings[i].real, va, bytes);
        free(va);
        mappings[i].va = NULL;
        fake_io_live--;
        return HV_OK;
    }
    return HV_E_NOT_MAPPED;
}
