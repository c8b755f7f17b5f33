; The PVH entry: 32-bit protected mode without paging -> long mode -> guest_main(start_info).
; The first GiB is mapped one to one by 2 MiB pages; paging.c does the rest.

CR0_PE   equ 1 << 0
CR0_MP   equ 1 << 1
CR0_NE   equ 1 << 5
CR0_WP   equ 1 << 16
CR0_PG   equ 1 << 31
CR4_PAE  equ 1 << 5
MSR_EFER equ 0xc0000080
EFER_LME equ 1 << 8
PTE_P    equ 1
PTE_RW   equ 2
PTE_PS   equ 0x80
XEN_ELFNOTE_PHYS32_ENTRY equ 18
STACK_BYTES equ 32768

        section .note.Xen note alloc noexec nowrite align=4
        dd 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
        db "Xen", 0
        dd guest_entry32

        global guest_entry32, guest_pml4, guest_pdpt, entry_state
        global guest_gdtr
        extern guest_main

        section .text
        bits 32
guest_entry32:
        cli
        cld
        mov [entry_state], ebx
        mov eax, cr0
        mov [entry_state + 4], eax
        mov eax, cr4
        mov [entry_state + 8], eax
        mov esp, stack_top
        pushfd
        pop eax
        mov [entry_state + 12], eax
        str [entry_state + 16]

        mov dword [guest_pml4], guest_pdpt + PTE_P + PTE_RW
        mov dword [guest_pdpt], first_pd + PTE_P + PTE_RW
        mov edi, first_pd
        mov eax, PTE_P + PTE_RW + PTE_PS
        mov ecx, 512
.fill:  mov [edi], eax
        mov dword [edi + 4], 0
        add eax, 1 << 21
        add edi, 8
        loop .fill

        mov eax, cr4
        or eax, CR4_PAE
        mov cr4, eax
        mov eax, guest_pml4
        mov cr3, eax
        mov ecx, MSR_EFER
        rdmsr
        or eax, EFER_LME
        wrmsr
        mov eax, cr0
        or eax, CR0_PG + CR0_WP + CR0_NE + CR0_MP + CR0_PE
        mov cr0, eax
        lgdt [guest_gdtr]
        jmp 0x08:.long

        bits 64
.long:  mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov fs, ax
        mov gs, ax
        mov rsp, stack_top
        xor ebp, ebp
        mov edi, [entry_state]
        call guest_main
.dead:  cli
        hlt
        jmp .dead

        section .rodata
        align 8
gdt:    dq 0
        dq 0x00af9b000000ffff ; 0x08 code, long
        dq 0x00cf93000000ffff ; 0x10 data
gdt_end:
guest_gdtr:
        dw gdt_end - gdt - 1
        dq gdt

        section .bss nobits alloc write align=4096
guest_pml4: resb 4096
guest_pdpt: resb 4096
first_pd:   resb 4096
stack:      resb STACK_BYTES
stack_top:
; What the loader handed over: start_info, CR0, CR4, EFLAGS, TR.
entry_state: resd 8
