; Out of long mode, run some code in another mode, and back. And what is run there.
        default rel

        global mode_run, mode_back, mode_forms, mode_forms_end

CODE32  equ 0x18 ; selectors of guest_gdt
CODE64  equ 0x08
DATA    equ 0x10
CR0_PG  equ 1 << 31
MSR_EFER equ 0xc0000080
EFER_LME equ 1 << 8

; struct mode_job in t_modes.c
EAX_    equ 0
ECX_    equ 4
EDX_    equ 8
EBX_    equ 12
ESP_    equ 16
EBP_    equ 20
ESI_    equ 24
EDI_    equ 28
EFLAGS_ equ 32
CR0_    equ 36
CR3_    equ 40
CR4_    equ 44
EIP_    equ 48
CS_     equ 52
DS_     equ 56
VECTOR_ equ 60
ERROR_  equ 64
FAULT_  equ 68
CR2_    equ 72
STAY_   equ 76

        section .text
        bits 64
; void mode_run(struct mode_job *job). The job lies below 4 GiB.
mode_run:
        push rbp
        push rbx
        push r12
        push r13
        push r14
        push r15
        mov [mode_job], edi
        mov [mode_rsp], rsp
        mov rax, cr0
        mov [mode_cr0], eax
        mov rax, cr3
        mov [mode_cr3], eax
        mov rax, cr4
        mov [mode_cr4], eax
        sidt [mode_idtr]
        push CODE32
        lea rax, [.compatible]
        push rax
        retfq

        bits 32
.compatible:
        mov eax, DATA
        mov ss, ax
        mov ds, ax
        mov esp, mode_stack_top
        mov ebp, [mode_job]
        cmp dword [ebp + STAY_], 0
        jne .there
        mov eax, cr0
        and eax, ~CR0_PG
        mov cr0, eax
        mov ecx, MSR_EFER
        rdmsr
        and eax, ~EFER_LME
        wrmsr
        mov eax, [ebp + CR4_]
        mov cr4, eax
        mov eax, [ebp + CR3_]
        mov cr3, eax
        mov eax, [ebp + CR0_]
        mov cr0, eax
        lidt [mode_idt_pointer]
.there: push dword [ebp + EFLAGS_]
        push dword [ebp + CS_]
        push dword [ebp + EIP_]
        mov es, [ebp + DS_]
        mov ds, [ebp + DS_]
        mov eax, [ebp + EAX_]
        mov ecx, [ebp + ECX_]
        mov edx, [ebp + EDX_]
        mov ebx, [ebp + EBX_]
        mov esi, [ebp + ESI_]
        mov edi, [ebp + EDI_]
        mov ebp, [ebp + EBP_]
        iretd

; The registers go into the job; EAX is the job then.
%macro KEEP 0
        mov ds, [cs:flat]
        mov [mode_eax], eax
        mov eax, [mode_job]
        mov [eax + ECX_], ecx
        mov [eax + EDX_], edx
        mov [eax + EBX_], ebx
        mov [eax + ESP_], esp
        mov [eax + EBP_], ebp
        mov [eax + ESI_], esi
        mov [eax + EDI_], edi
        mov ecx, [mode_eax]
        mov [eax + EAX_], ecx
%endmacro

; The code's end: a far jump to CODE32:mode_back.
mode_back:
        KEEP
        pushfd
        pop dword [eax + EFLAGS_]
        mov dword [eax + VECTOR_], -1
        jmp leave_mode

trap:   KEEP
        pop dword [eax + VECTOR_]
        pop dword [eax + ERROR_]
        pop dword [eax + FAULT_]
        pop ecx
        pop dword [eax + EFLAGS_]
        mov ecx, cr2
        mov [eax + CR2_], ecx
leave_mode:
        cld
        mov es, [flat]
        cmp dword [eax + STAY_], 0
        jne .long
        mov eax, cr0
        and eax, ~CR0_PG
        mov cr0, eax
        mov eax, [mode_cr4]
        mov cr4, eax
        mov eax, [mode_cr3]
        mov cr3, eax
        mov ecx, MSR_EFER
        rdmsr
        or eax, EFER_LME
        wrmsr
        mov eax, [mode_cr0]
        mov cr0, eax
.long:  jmp CODE64:back_in_64
        bits 64
back_in_64:
        lidt [mode_idtr]
        mov eax, DATA
        mov ss, ax
        mov rsp, [mode_rsp]
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbx
        pop rbp
        ret

        bits 32
%assign v 0
%rep 32
mode_entry_ %+ v:
%if v != 8 && v != 17 && v != 21 && v != 29 && v != 30 && (v < 10 || v > 14)
        push dword 0
%endif
        push dword v
        jmp trap
%assign v v + 1
%endrep

; ---- what is run: the operand at DS:(E)BX, which (E)SI and (E)DI point at too; (E)CX is 3 where it counts ----

ALL   equ 0x8d5
LOGIC equ 0x8c5

        section .rodata.mode_forms progbits alloc noexec nowrite align=8
mode_forms:
; F width of the code in bits, bytes read, bytes written, flags, iterations, instruction.   struct form in t_modes.c
%macro F 6+
        section .rodata
%%start: %6
%%end:
%defstr %%text %6
%%name: db %%text, 0
        section .rodata.mode_forms
        dq %%start, %%name
        dw %4
        db %1, %2, %3, %5, %%end - %%start, 0
%endmacro

        bits 32
        F 32, 1, 0, ALL, 1, mov al, [ebx]
        F 32, 2, 0, ALL, 1, mov dx, [ebx]
        F 32, 4, 0, ALL, 1, mov eax, [ebx]
        F 32, 4, 0, ALL, 1, mov ecx, [esi + eax * 4 - 4]
        F 32, 4, 0, ALL, 1, mov ecx, [nosplit eax * 1 + edi - 1]
        F 32, 4, 0, ALL, 1, mov edx, [bx]
        F 32, 1, 0, ALL, 1, movzx edx, byte [esi]
        F 32, 2, 0, ALL, 1, movsx edx, word [edi]
        F 32, 0, 1, ALL, 1, mov [ebx], ch
        F 32, 0, 2, ALL, 1, mov [ebx], ax
        F 32, 0, 4, ALL, 1, mov [ebx], edx
        F 32, 0, 4, ALL, 1, mov [si], ecx
        F 32, 0, 4, ALL, 1, mov dword [ebx], 0x89abcdef
        F 32, 4, 4, ALL, 1, add [ebx], eax
        F 32, 2, 2, ALL, 1, sub word [ebx], 0x1234
        F 32, 1, 0, ALL, 1, cmp [ebx], cl
        F 32, 4, 4, LOGIC, 1, lock or [ebx], edx
        F 32, 4, 4, ALL, 1, inc dword [ebx]
        F 32, 4, 4, ALL, 1, xchg [ebx], ebp
        F 32, 4, 4, ALL, 1, lock xadd [ebx], ecx
        F 32, 8, 8, ALL, 1, lock cmpxchg8b [ebx]
        F 32, 4, 0, ALL, 1, push dword [ebx]
        F 32, 2, 0, ALL, 1, push word [ebx]
        F 32, 4, 4, ALL, 1, movsd
        F 32, 2, 2, ALL, 3, rep movsw
        F 32, 0, 4, ALL, 3, rep stosd
        F 32, 1, 0, ALL, 3, rep lodsb
        F 32, 4, 4, ALL, 3, a16 rep movsd
        bits 16
        F 16, 1, 0, ALL, 1, mov al, [bx]
        F 16, 2, 0, ALL, 1, mov dx, [si]
        F 16, 4, 0, ALL, 1, mov edx, [di]
        F 16, 2, 0, ALL, 1, mov dx, [bx + 0]
        F 16, 4, 0, ALL, 1, mov ecx, [esi + eax * 2 - 2]
        F 16, 1, 0, ALL, 1, movzx dx, byte [bx]
        F 16, 0, 1, ALL, 1, mov [bx], dh
        F 16, 0, 2, ALL, 1, mov [si], dx
        F 16, 0, 4, ALL, 1, mov [di], edx
        F 16, 0, 2, ALL, 1, mov word [bx], 0x4321
        F 16, 2, 2, ALL, 1, adc [bx], ax
        F 16, 4, 4, ALL, 1, neg dword [bx]
        F 16, 1, 1, LOGIC, 1, lock and byte [di], 0x5a
        F 16, 2, 2, ALL, 1, xchg [bx], dx
        F 16, 2, 0, ALL, 1, push word [bx]
        F 16, 2, 2, ALL, 1, movsw
        F 16, 2, 2, ALL, 3, rep movsw
        F 16, 0, 4, ALL, 3, rep stosd
        F 16, 1, 0, ALL, 3, a32 rep lodsb
        section .rodata.mode_forms
mode_forms_end:

        section .rodata
flat:   dw DATA
mode_idt_pointer:
        dw 32 * 8 - 1
        dd mode_idt

; Filled by t_modes.c with 32-bit interrupt gates.
        section .data
        align 8
        global mode_idt, mode_entries
mode_idt: times 32 dq 0
mode_entries:
%assign v 0
%rep 32
        dd mode_entry_ %+ v
%assign v v + 1
%endrep

        section .bss nobits alloc write align=16
mode_rsp:  resq 1
mode_job:  resd 1
mode_cr0:  resd 1
mode_cr3:  resd 1
mode_cr4:  resd 1
mode_eax:  resd 1
mode_idtr: resb 10
           resb 2048
mode_stack_top:

        section .note.GNU-stack noalloc noexec nowrite progbits
