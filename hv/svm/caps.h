/*
 * Owns:     what CPUID and the SVM MSRs say.
 * Promises: svm_probe() reads everything once and names the first thing that is missing; VM_CR.SVMDIS and a missing
 *           NPT are told apart.
 * Needs:    APM 2 "SVM Support", APM 3 CPUID Fn8000_000A.
 * Never:    a feature used without its bit.
 */
#ifndef HV_SVM_CAPS_H
#define HV_SVM_CAPS_H

#include "hv/base/bits.h"

#define VM_CR        0xc0010114u
#define VM_HSAVE_PA  0xc0010117u
#define VM_CR_LOCK   BIT(3)
#define VM_CR_SVMDIS BIT(4)
#define EFER_SVME    BIT(12)

struct svm_caps {
    uint32_t revision;
    uint32_t asids;
    bool next_rip; /* nRIP is saved on instruction intercepts */
    bool flush_by_asid;
    bool decode_assists; /* data accesses come with the instruction's bytes */
};

extern struct svm_caps svm_caps; /* written by svm_probe(), then read-only */

bool svm_present(void);
const char *svm_probe(void);
void svm_print_caps(void);

#endif
