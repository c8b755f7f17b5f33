; Entries of interrupts, and code whose exact place matters to a check of them.
        default rel
        bits 64
%include "tests/guest/registers.inc"

        global irq_vectors, irq_unblock_nmi, irq_halt, irq_halt_at, irq_stamp, irq_stamp_entry
        global irq_places, irq_sweep, irq_sweep_at
        global irq_sweep_access, irq_sweep_access_at, irq_step_sti, irq_step_store, irq_step_at
        global irq_rep_movsd, irq_rep_at
        extern irq_handle

        section .text
; 17, 21, 29 and 30 are exceptions with an error code, but interrupts without one: here they are interrupts.
%macro ENTRY 1
irq_entry_%1:
%if %1 != 8 && (%1 < 10 || %1 > 14)
        push qword 0
%endif
        push qword %1
        jmp irq_common
%endmacro
%assign v 0
%rep 256
        ENTRY v
%assign v v + 1
%endrep

irq_common:
        FRAME_SAVE
        cld
        mov rdi, rsp
        mov rbp, rsp
        and rsp, -16
        call irq_handle
        mov rsp, rbp
        FRAME_RESTORE
        iretq

irq_halt:
        sti
.halt:  hlt
        cli
        ret

; uint64_t irq_stamp(uint64_t address, uint32_t value): ticks from in front of the store to the first
; instruction of irq_stamp_entry, the handler
; of the interrupt that it brings. No EOI.
irq_stamp:
        xor ecx, ecx
        sti
        nop
        rdtsc
        mov r8d, eax
        mov [rdi], esi
        nop
        cli
        mov eax, ecx
        ret
.taken: rdtsc
        sub eax, r8d
        mov ecx, eax
        iretq

; void irq_unblock_nmi(void): whoever left an NMI's handler by another way than IRET does that here.
irq_unblock_nmi:
        mov rax, rsp
        mov ecx, ss
        push rcx
        push rax
        pushfq
        mov ecx, cs
        push rcx
        lea rcx, [.back]
        push rcx
        iretq
.back:  ret

;
; Where an interrupt that is pending is taken. void place(uint64_t rdi, uint32_t esi): IF=0 before and after;
; RDI is a place for an
; access, ESI what is written there. HERE marks the boundary.
;
%macro HERE 0
%%at:
%define place_at %%at
%endmacro

sti_nop:
        sti
        nop
        HERE
        nop
        cli
        ret
%xdefine at_sti_nop place_at

sti_cli: ; nowhere
        sti
        cli
        nop
        ret

sti_sti: ; the second one makes no shadow
        sti
        sti
        HERE
        nop
        cli
        ret
%xdefine at_sti_sti place_at

popf_if:
        pushfq
        or qword [rsp], 0x200
        popfq
        HERE
        nop
        cli
        ret
%xdefine at_popf_if place_at

iret_if:
        mov rax, rsp
        mov ecx, ss
        push rcx
        push rax
        pushfq
        or qword [rsp], 0x200
        mov ecx, cs
        push rcx
        lea rcx, [.there]
        push rcx
        iretq
.there: HERE
        nop
        cli
        ret
%xdefine at_iret_if place_at

sti_hlt:
        sti
        hlt
        HERE
        nop
        cli
        ret
%xdefine at_sti_hlt place_at

sti_load:
        sti
        mov eax, [rdi]
        HERE
        nop
        cli
        ret
%xdefine at_sti_load place_at

sti_store:
        sti
        mov [rdi], esi
        HERE
        nop
        cli
        ret
%xdefine at_sti_store place_at

sti_cpuid:
        push rbx
        xor eax, eax
        sti
        cpuid
        HERE
        nop
        cli
        pop rbx
        ret
%xdefine at_sti_cpuid place_at

sti_in:
        mov edx, 0x80
        sti
        in al, dx
        HERE
        nop
        cli
        ret
%xdefine at_sti_in place_at

sti_rdmsr:
        mov ecx, 0x1b
        sti
        rdmsr
        HERE
        nop
        cli
        ret
%xdefine at_sti_rdmsr place_at

sti_cr8:
        xor eax, eax
        sti
        mov cr8, rax
        HERE
        nop
        cli
        ret
%xdefine at_sti_cr8 place_at

cr8_opens: ; TPR holds it back
        xor eax, eax
        sti
        nop
        mov cr8, rax
        HERE
        nop
        nop
        cli
        ret
%xdefine at_cr8_opens place_at

store_sends: ; the access itself makes it pending
        sti
        nop
        mov [rdi], esi
        HERE
        nop
        nop
        cli
        ret
%xdefine at_store_sends place_at

ss_store_sends:
        mov eax, ss
        sti
        nop
        mov ss, eax
        mov [rdi], esi
        HERE
        nop
        nop
        cli
        ret
%xdefine at_ss_store_sends place_at

sti_store_sends:
        sti
        mov [rdi], esi
        HERE
        nop
        nop
        cli
        ret
%xdefine at_sti_store_sends place_at

; void irq_sweep(unsigned rounds): IF=1 around instructions behind which no interrupt may come: irq_sweep_at[].
irq_sweep:
        mov eax, ss
        sti
        nop
.again: nop
        mov ss, eax
.ss:    nop
        nop
        cli
        nop
        sti
.sti:   nop
        nop
        dec edi
        jnz .again
        cli
        ret

; void irq_sweep_access(unsigned rounds, uint64_t address): the same with loads and stores of what exits.
irq_sweep_access:
        mov eax, ss
        sti
        nop
.again: mov ecx, [rsi]
        mov ss, eax
.ss:    mov ecx, [rsi]
        mov [rsi], ecx
        cli
        mov ecx, [rsi]
        sti
.sti:   mov [rsi], ecx
        nop
        dec edi
        jnz .again
        cli
        ret

; void irq_step_sti(uint64_t address, uint32_t value), irq_step_store(): single steps from the STI or the store
; on, until a handler ends it.
irq_step_sti:
        pushfq
        or qword [rsp], 0x100
        popfq
        sti
.first: nop
.next:  nop
        cli
        ret

irq_step_store:
        sti
        nop
        pushfq
        or qword [rsp], 0x100
        popfq
        mov [rdi], esi
.first: nop
.next:  nop
        cli
        ret

; void irq_rep_movsd(uint64_t to, uint64_t from, uint32_t count): IF=1 in it.
irq_rep_movsd:
        mov ecx, edx
        sti
        nop
.rep:   rep movsd
        cli
        ret

        section .rodata
        align 8
irq_sweep_at:
        dq irq_sweep.ss, irq_sweep.sti
irq_sweep_access_at:
        dq irq_sweep_access.ss, irq_sweep_access.sti
irq_step_at:
        dq irq_step_sti.first, irq_step_sti.next, irq_step_store.first, irq_step_store.next
irq_stamp_entry:
        dq irq_stamp.taken
irq_halt_at:
        dq irq_halt.halt
irq_rep_at:
        dq irq_rep_movsd.rep
; struct irq_place in guest.h
%macro PLACE 1-2 ; name, 0: nowhere
        dq %1
%if %0 == 2
        dq 0
%else
        dq at_%1
%endif
%endmacro
irq_places:
        PLACE sti_nop
        PLACE sti_cli, 0
        PLACE sti_sti
        PLACE popf_if
        PLACE iret_if
        PLACE sti_hlt
        PLACE sti_load
        PLACE sti_store
        PLACE sti_cpuid
        PLACE sti_in
        PLACE sti_rdmsr
        PLACE sti_cr8
        PLACE cr8_opens
        PLACE store_sends
        PLACE ss_store_sends
        PLACE sti_store_sends

        align 8
irq_vectors:
%assign v 0
%rep 256
        dq irq_entry_ %+ v
%assign v v + 1
%endrep

        section .note.GNU-stack noalloc noexec nowrite progbits
