; VM entry and exit. HOST_RSP points just past vp->gpr, so the exit stub pushes the guest's registers
; straight into the VP and then continues on the run loop's stack.
;
;   vmx_vp_run -> vmx_enter -> guest -> vmx_exit_stub -> vmx_handle_exit --(0, 1)--> vmresume
;                                                                        \-(2)-----> vmx_enter returns
; On 1 the core changed neither RBP nor R12 to R15, and C preserves them: they are not loaded again.
bits 64
default rel
%include "offsets.inc"

extern vmx_handle_exit
global vmx_enter:function hidden
global vmx_exit_stub:function hidden

%macro LOAD_GUEST_REGISTERS 0        ; rsp = vp
    pop rax
    pop rcx
    pop rdx
    pop rbx
    add rsp, 8                       ; RSP is in the VMCS
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
%endmacro

section .text

; uint32_t vmx_enter(struct vp *vp): launches; 0 when the core ended the VM, 1 when the entry itself failed.
align 16
vmx_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8
    mov [rdi + VP_HOST_RSP], rsp
    mov rsp, rdi
    LOAD_GUEST_REGISTERS
    vmlaunch
    jmp entry_failed

align 16
vmx_exit_stub:                       ; rsp = &vp->gpr[16]
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
    push rbp                         ; the slot of RSP
    push rbx
    push rdx
    push rcx
    push rax
    mov rdi, rsp
    mov rbx, rsp
    mov rsp, [rdi + VP_HOST_RSP]
    call vmx_handle_exit wrt ..plt
    mov rsp, rbx
    cmp eax, 1
    jne .all
    pop rax
    pop rcx
    pop rdx
    pop rbx
    add rsp, 16                      ; RSP, RBP
    pop rsi
    pop rdi
    pop r8
    pop r9
    pop r10
    pop r11
    add rsp, 32                      ; R12 to R15
    vmresume
    jmp entry_failed
.all:
    ja leave_guest
    LOAD_GUEST_REGISTERS
    vmresume
                                     ; falls through: the entry failed, rsp = &vp->gpr[16]
entry_failed:
    mov rsp, [rsp - VP_GPR_BYTES + VP_HOST_RSP]
    mov eax, 1
    jmp restore
leave_guest:                         ; rsp = vp
    mov rsp, [rsp + VP_HOST_RSP]
    xor eax, eax
restore:
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
