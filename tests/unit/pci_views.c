#include "tests/unit/pci_views.h"

#include "tests/fake/host.h"

#include "hv/mem/view_record.h"
#include "hv/x86/mtrr.h"
#include "tests/fake/space.h"
#include "tests/fake/view_ram.h"

static const struct mtrr machine = {.def_type = MTRR_DEF_ENABLE};

/* pci_world.c resets failures of the fake that this stands for: here they are those of allocations. */
void fake_view_fail(unsigned nth)
{
    assert_int_equal(nth, 0);
}

void pci_views_open(void)
{
    static bool is_open;

    if (!is_open) {
        fake_space_open();
        io_space_init(&machine);
        view_init();
    }
    is_open = true;
}
