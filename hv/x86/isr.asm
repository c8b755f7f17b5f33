; Exception entry points: one per vector, 16 bytes apart, into exception_entry(struct exception_frame *).
; Interrupts stay off in root mode but for a moment (desc.h), and taking one does nothing here. NMI returns. #DB is
; dropped before it touches anything: the hypervisor uses no debug register, and Bochs 2.7 delivers the step of a guest
; that single-steps over a #VMEXIT here, while FS and GS are still the guest's (docs/emulators.md).
bits 64
default rel

extern exception_entry
global isr_entries:data hidden
global isr_interrupt:data hidden
global cpu_sleep:function hidden

%define HAS_ERROR(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17 || (v) == 21 || (v) == 29 || (v) == 30)

%define VECTOR_DB 1

section .text
align 16
isr_entries:
%assign v 0
%rep 32
    align 16
%if v == VECTOR_DB
    iretq
%endif
%if !HAS_ERROR(v)
    push 0
%endif
    push v
    jmp isr_common
%assign v v+1
%endrep

align 16
isr_common:
    cld
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rdi
    push rsi
    push rbp
    push qword [rsp + 16 * 8]       ; the interrupted RSP: 11 registers, vector, error, rip, cs, rflags
    push rbx
    push rdx
    push rcx
    push rax
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    call exception_entry wrt ..plt
    mov rsp, rbx
    pop rax
    pop rcx
    pop rdx
    pop rbx
    add rsp, 8
    pop rbp
    pop rsi
    pop rdi
    pop r8
    pop r9
    pop r10
    pop r11
    pop r12
    pop r13
    pop r14
    pop r15
    add rsp, 16
    iretq

; void cpu_sleep(void): until an interrupt comes. STI takes effect behind HLT, so one that is pending ends it; but an NMI may come
; between the two, and its IRET lets the interrupt in before HLT, which then must not begin.
align 16
cpu_sleep:
    sti
sleep_hlt:
    hlt
    cli
    ret

align 16
isr_interrupt:
    push rax
    lea rax, [sleep_hlt]
    cmp [rsp + 8], rax
    jne .back
    inc qword [rsp + 8]                 ; HLT is one byte
.back:
    pop rax
    iretq
