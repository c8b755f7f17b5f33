; A CPU state loaded, one instruction run in it, the state that it leaves put away.
        default rel
        bits 64
%include "tests/guest/registers.inc"

        global state_run, state_back, state_enter

; struct cpu_state in guest.h
GPR     equ 0
RFLAGS  equ 128
VECTORS equ 160

        section .text

; Vector registers from or to [rdi + VECTORS]: as wide as `state_width` says.
%macro VECTORS_MOVE 1 ; 0 load, 1 store
        cmp dword [state_width], 16
        jb %%done
        ja %%wide
%assign v 0
%rep 16
%if %1
        movups [rdi + VECTORS + 32 * v], xmm %+ v
%else
        movups xmm %+ v, [rdi + VECTORS + 32 * v]
%endif
%assign v v + 1
%endrep
        jmp %%done
%%wide:
%assign v 0
%rep 16
%if %1
        vmovups [rdi + VECTORS + 32 * v], ymm %+ v
%else
        vmovups ymm %+ v, [rdi + VECTORS + 32 * v]
%endif
%assign v v + 1
%endrep
%%done:
%endmacro

; void state_run(struct cpu_state *state, uint64_t entry, unsigned vector_bytes): the code at `entry` runs with all
; registers from *state, RSP and flags too, and ends with JMP [state_back].
state_run:
        push rbp
        push rbx
        push r12
        push r13
        push r14
        push r15
        mov [state_at], rdi
        mov [state_entry], rsi
        mov [state_width], edx
        mov [state_saved], rsp
        VECTORS_MOVE 0
        push qword [rdi + RFLAGS]
        popfq
        REGISTERS_LOAD
        mov rsp, [rdi + 32]
        mov rdi, [rdi + 56]
        jmp [state_entry]

back:   mov [state_rdi], rdi
        mov rdi, [state_at]
        REGISTERS_STORE
        mov [rdi + 32], rsp
        mov rax, [state_rdi]
        mov [rdi + 56], rax
        mov rsp, [state_saved]
        pushfq
        pop qword [rdi + RFLAGS]
        push qword 2
        popfq
        VECTORS_MOVE 1
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbx
        pop rbp
        ret

; void state_enter(struct cpu_state *state, const uint64_t frame[6]): load the registers of *state and IRET to {RDI, RIP,
; CS, RFLAGS, RSP, SS} of the frame: any kind of code, which an exception ends. Vector registers stay.
state_enter:
        mov rsp, rsi
        mov ds, [rsp + 40]
        mov es, [rsp + 40]
        REGISTERS_LOAD
        pop rdi
        iretq

        section .rodata
        align 8
state_back: dq back

        section .bss nobits alloc write align=16
state_at:    resq 1
state_entry: resq 1
state_saved: resq 1
state_rdi:   resq 1
state_width: resd 1
