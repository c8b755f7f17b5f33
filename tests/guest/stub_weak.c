#include "tests/guest/guest.h"
const struct check_list checks_ranges __attribute__((weak)), checks_trap __attribute__((weak)),
    checks_forms __attribute__((weak)), checks_cross __attribute__((weak)),
    checks_dynamic __attribute__((weak)), checks_types __attribute__((weak)),
    checks_status __attribute__((weak)), checks_section __attribute__((weak)),
    checks_bars __attribute__((weak)), checks_overlap __attribute__((weak)),
    checks_cpu __attribute__((weak)), checks_regs __attribute__((weak)),
    checks_stress __attribute__((weak)), checks_bench __attribute__((weak));
__attribute__((weak)) bool fatal_run(const char *w)
{
    (void)w;
    return false;
}
__attribute__((weak)) void oracle_run(void)
{
}
