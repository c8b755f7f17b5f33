/* Blocks of table pages for ept/pool.c, out of the machine's frames. */
#include "ept/pool.h"

#include "hv/mem/frames.h"

hv_status_t pt_block_alloc(hpa_t *block)
{
    return frames_alloc(&hv_frames, PT_BLOCK_FRAMES, PT_BLOCK_FRAMES, block);
}

void pt_block_free(hpa_t block)
{
    frames_free(&hv_frames, block, PT_BLOCK_FRAMES);
}
