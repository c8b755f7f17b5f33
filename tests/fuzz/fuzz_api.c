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

/* Sections of every kind that costs nothing, and BARs that are live: so that the first record can mean something. */
static void set_stage(bool with_memory)
{
    static const uint8_t cheap[] = {DUEL_WINDOW, DUEL_WINDOW_WC, DUEL_MODULE, DUEL_RESERVE,
                                    DUEL_WC,     DUEL_READONLY,  DUEL_CODE};

    for (unsigned i = 0; i < ARRAY_COUNT(cheap) && duel.config.shift == 0; i++)
        duel_do(duel_section(cheap[i], i));
    if (with_memory || duel.config.shift != 0)
        duel_do(duel_section(DUEL_LARGE, MODEL_HANDLES - 1));
    duel_do(duel_decode_bars(0, true));
    duel_do(duel_decode_bars(1, true));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct duel_config config = {.name = "fuzz"};

    if (bytes < 1 + DUEL_RECORD_BYTES)
        return -1;
    config.format = data[0] & 1 ? &pt_format_npt : &pt_format_ept;
    config.large_executable = data[0] & 2;
    config.no_huge = data[0] & 4;
    config.watch = data[0] & 8;
    config.hardware = data[0] & 16 ? 7 : 0;
    config.shift = (data[0] & 0xe0) == 0xe0 ? 9 : 0;
    config.check_every = 4;
    duel_open(&config);
    set_stage((data[0] & 0xc0) == 0xc0);
    duel_run(data + 1, bytes - 1);
    duel_check_all();
    duel_close();
    return 0;
}
