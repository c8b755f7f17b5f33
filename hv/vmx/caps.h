/*
 * Owns:     what the VMX capability MSRs say, and the bits of the control words that we use.
 * Promises: vmx_probe() reads everything once and names the first thing that is missing.
 * Needs:    SDM 3D Appendix A "VMX Capability Reporting Facility".
 * Never:    a control set without its capability bit.
 */
#ifndef HV_VMX_CAPS_H
#define HV_VMX_CAPS_H

#include "hv/base/bits.h"

#define PIN_EXTERNAL_INTERRUPT BIT(0)
#define PIN_NMI                BIT(3)
#define PIN_VIRTUAL_NMI        BIT(5)

#define PRIMARY_INTR_WINDOW    BIT(2)
#define PRIMARY_HLT            BIT(7)
#define PRIMARY_MWAIT          BIT(10)
#define PRIMARY_RDPMC          BIT(11)
#define PRIMARY_CR3_LOAD       BIT(15)
#define PRIMARY_CR3_STORE      BIT(16)
#define PRIMARY_CR8_LOAD       BIT(19)
#define PRIMARY_CR8_STORE      BIT(20)
#define PRIMARY_NMI_WINDOW     BIT(22)
#define PRIMARY_IO_BITMAPS     BIT(25)
#define PRIMARY_MSR_BITMAP     BIT(28)
#define PRIMARY_MONITOR        BIT(29)
#define PRIMARY_SECONDARY      BIT(31)

#define SECONDARY_EPT          BIT(1)
#define SECONDARY_RDTSCP       BIT(3)
#define SECONDARY_VPID         BIT(5)
#define SECONDARY_UNRESTRICTED BIT(7)

#define EXIT_SAVE_DEBUG        BIT(2)
#define EXIT_HOST_64           BIT(9)
#define EXIT_ACK_INTERRUPT     BIT(15)
#define EXIT_SAVE_PAT          BIT(18)
#define EXIT_LOAD_PAT          BIT(19)
#define EXIT_SAVE_EFER         BIT(20)
#define EXIT_LOAD_EFER         BIT(21)

#define ENTRY_LOAD_DEBUG       BIT(2)
#define ENTRY_IA32E            BIT(9)
#define ENTRY_LOAD_PAT         BIT(14)
#define ENTRY_LOAD_EFER        BIT(15)

#define EPT_CAP_EXECUTE_ONLY   BIT(0)
#define EPT_CAP_4_LEVEL        BIT(6)
#define EPT_CAP_UC             BIT(8)
#define EPT_CAP_WB             BIT(14)
#define EPT_CAP_2M             BIT(16)
#define EPT_CAP_1G             BIT(17)
#define EPT_CAP_INVEPT         BIT(20)
#define EPT_CAP_AD             BIT(21)
#define EPT_CAP_INVEPT_SINGLE  BIT(25)
#define EPT_CAP_INVEPT_ALL     BIT(26)
#define EPT_CAP_INVVPID        BIT(32)
#define EPT_CAP_INVVPID_SINGLE BIT(41)

enum vmx_controls { VMX_PIN, VMX_PRIMARY, VMX_SECONDARY, VMX_EXIT, VMX_ENTRY, VMX_CONTROLS };

struct vmx_caps {
    uint32_t revision;                /* VMCS revision identifier */
    uint32_t region_bytes;            /* of VMXON region and VMCS, at most 4096 */
    uint32_t must_be_1[VMX_CONTROLS]; /* allowed-0 settings */
    uint32_t may_be_1[VMX_CONTROLS];  /* allowed-1 settings */
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    uint64_t ept_vpid;
    bool vpid; /* VPID with INVVPID: used when there */
};

extern struct vmx_caps vmx_caps; /* written by vmx_probe(), then read-only */

bool vmx_present(void);
const char *vmx_probe(void);
void vmx_print_caps(void);

#endif
