/* The messages that came to the APIC, instead of an APIC. */
#ifndef TESTS_FAKE_APIC_H
#define TESTS_FAKE_APIC_H

#include "hv/vm/apic.h"

struct fake_message {
    uint64_t address;
    uint32_t data;
};

#define FAKE_APIC_MESSAGES 64u
extern struct fake_message fake_apic_message[FAKE_APIC_MESSAGES]; /* the first ones */
extern unsigned fake_apic_count;
/* Runs at each message. */
extern void (*fake_apic_on_message)(void);

#endif
