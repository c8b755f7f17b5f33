/*
 * libFuzzer on the calls of hv/pci/device.h and of sections and views, with the flat model as the oracle.
 *
 *   input    byte 0: the world; then records of DUEL_RECORD_BYTES, each an operation (tests/unit/duel_ops.c)
 *   failure  any difference, any ASSERT, anything that the sanitizers find; the operations go to stderr
 */
#include "tests/unit/duel.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    /* A failed comparison aborts, as there is no test runner to leave it to. */
    return setenv("CMOCKA_TEST_ABORT", "1", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct duel_config config = {.name = "fuzz"};

    if (bytes < 1 + DUEL_RECORD_BYTES)
        return -1;
    config.format = data[0] & 1 ? &pt_format_npt : &pt_format_ept;
    config.large_executable = data[0] & 2;
    config.no_huge = data[0] & 4;
    config.watch = (data[0] & 24) == 24;
    config.hardware = data[0] & 4 ? 7 : 0;
    config.shift = (data[0] & 0xe0) == 0xe0 ? 9 : 0;
    config.is_calm = (data[0] & 0x60) == 0x60;
    config.check_every = 16;
    config.types_every = data[0] & 1;
    duel_open(&config);
    duel_set_stage(config.is_calm || (data[0] & 0xc0) == 0xc0);
    duel_run(data + 1, bytes - 1);
    duel_expect(&duel.after);
    duel_check_all();
    duel_close();
    return 0;
}
