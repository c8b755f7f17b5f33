; Exception entries, the recovery point of trap_try(), and the register harness of the access forms.
        default rel
        bits 64
%include "tests/guest/registers.inc"

        global trap_vectors, trap_try, trap_recover, trap_chain, trap_vector
        global form_run, form_rsp
        extern trap_handle

        section .text
%macro ENTRY 1
trap_entry_%1:
%if %1 != 8 && %1 != 17 && %1 != 21 && %1 != 29 && %1 != 30 && (%1 < 10 || %1 > 14)
        push qword 0
%endif
        push qword %1
        jmp trap_common
%endmacro
%assign v 0
%rep 32
        ENTRY v
%assign v v + 1
%endrep

trap_common:
        FRAME_SAVE ; trap_handle() puts the RSP right
        cld
        mov rdi, rsp
        mov rbp, rsp
        and rsp, -16
        call trap_handle
        mov rsp, rbp
        FRAME_RESTORE
        iretq

; int trap_try(void (*fn)(void *), void *arg)
trap_try:
        push rbp
        push rbx
        push r12
        push r13
        push r14
        push r15
        push qword [trap_chain]
        mov [trap_chain], rsp
        mov rax, rdi
        mov rdi, rsi
        call rax
        mov eax, -1
.out:   pop qword [trap_chain]
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbx
        pop rbp
        ret
; trap_handle() returns here after a fault.
trap_recover:
        mov rsp, [trap_chain]
        mov eax, [trap_vector]
        jmp trap_try.out

; void form_run(uint64_t gpr[16], uint64_t entry): load every register but RSP, call the form on a stack of
; its own (RSP is form_rsp there), put all registers back into gpr.
form_run:
        push rbp
        push rbx
        push r12
        push r13
        push r14
        push r15
        mov [form_regs], rdi
        mov [form_entry], rsi
        mov [form_saved], rsp
        mov rsp, form_stack_top
        REGISTERS_LOAD
        mov rdi, [rdi + 56]
        call [form_entry]
        mov [form_rdi], rdi
        mov rdi, [form_regs]
        REGISTERS_STORE
        mov rax, [form_rdi]
        mov [rdi + 56], rax
        mov rsp, [form_saved]
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbx
        pop rbp
        ret

        section .rodata
        align 8
trap_vectors:
%assign v 0
%rep 32
        dq trap_entry_ %+ v
%assign v v + 1
%endrep
form_rsp: dq form_stack_top - 8

        section .bss nobits alloc write align=16
trap_chain:  resq 1
trap_vector: resq 1
form_regs:   resq 1
form_entry:  resq 1
form_saved:  resq 1
form_rdi:    resq 1
             resb 2048
form_stack_top:
