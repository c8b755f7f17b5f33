; VM entry and exit. VMRUN saves and restores RSP, so it runs with RSP just past vp->gpr, where the exit pushes
; the guest's registers. RAX is in the VMCB. What #VMEXIT does not restore (FS, GS, TR, LDTR, some MSRs) goes through
; VMSAVE and VMLOAD. GIF is 0 from the last check before an entry until the host's state is back: an NMI waits. IF is 1
; there, so that interrupts of the machine end the guest's run.
;
;   svm_vp_run -> svm_enter -> guest -> svm_handle_exit --(0)--> guest
;                                                       \-(1)--> svm_enter returns
bits 64
default rel
%include "offsets.inc"

extern svm_handle_exit
global svm_enter:function hidden

%define VMCB_RAX 0x5f8
%define SVM_VMCB_ADDRESS 0
%define SVM_HOST_VMCB_ADDRESS 8
%define SVM_VMCB 16

section .text

; void svm_enter(struct vp *vp)
align 16
svm_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8
    mov [rdi + VP_HOST_RSP], rsp
    mov rbx, rdi
    mov rax, [rdi + VP_BACKEND]
    mov rax, [rax + SVM_HOST_VMCB_ADDRESS]
    vmsave

enter_guest:                         ; rbx = vp
    mov rcx, [rbx + VP_BACKEND]
    mov rdx, [rcx + SVM_VMCB]
    mov rsp, rbx
    pop rax
    mov [rdx + VMCB_RAX], rax
    mov rax, [rcx + SVM_VMCB_ADDRESS]
    vmload
    pop rcx
    pop rdx
    pop rbx
    add rsp, 8                       ; RSP is in the VMCB
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
    vmrun
    vmsave                           ; RAX, its operand, is ours again
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
    lea rbx, [rsp - 8]               ; vp
    mov rcx, [rbx + VP_BACKEND]
    mov rdx, [rcx + SVM_VMCB]
    push qword [rdx + VMCB_RAX]
    mov rax, [rcx + SVM_HOST_VMCB_ADDRESS]
    vmload
    mov rdi, rbx
    mov rsp, [rbx + VP_HOST_RSP]
    cli                              ; an interrupt stays pending but in rare_exit()
    stgi                             ; all of the host's state is back: NMIs and SMIs may come
    call svm_handle_exit wrt ..plt
    test eax, eax
    jz enter_guest                   ; GIF is 0 again
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
