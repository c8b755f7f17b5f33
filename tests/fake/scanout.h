/*
 * Owns:     the machine's screen, as hv/pci/scanout.c sees it, for host tests.
 * Promises: every picture is read whole, so that one that is not mapped ends the test.
 * Needs:    nothing.
 * Never:    linked together with boot/console.c.
 */
#ifndef TESTS_FAKE_SCANOUT_H
#define TESTS_FAKE_SCANOUT_H

#include "hv/pci/scanout.h"

extern bool fake_screen; /* there is one */
extern unsigned fake_pictures;
/* The last one. */
extern uint32_t fake_picture_width, fake_picture_height, fake_picture_stride;
extern uint32_t fake_picture_first, fake_picture_last; /* its first and its last pixel */
extern uint64_t fake_picture_sum;                      /* of all */

void fake_screen_reset(void);

#endif
