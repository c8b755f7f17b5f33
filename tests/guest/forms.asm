; Every form of MOV, MOVZX, MOVSX and MOVSXD with a memory operand, as tiny functions with a description that
; t_forms.c turns into the expected registers and accesses. And instructions that are not emulated.
        default rel
        bits 64

LOAD     equ 0
STORE    equ 1
STORE_IMM equ 2
ZERO     equ 0 ; extension of a narrow load; plain loads of 1 and 2 bytes keep the upper bits
SIGN     equ 1
KEEP     equ 2
NONE     equ 16

%include "tests/guest/names.inc"

; FORM family, op, bytes, register, its bytes, extension, high byte, base, index, shift, address bytes,
;      displacement, immediate, {instruction}.   struct form in t_forms.c
%macro FORM 14
        section .text
%%start:
        %14
%%end:  ret
        section .forms progbits alloc noexec nowrite align=8
        dq %%start
        dq %%end - %%start
        dq %12
        dq %13
        db %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11
        times 5 db 0
%endmacro

FAMILY_LOAD64    equ 0
FAMILY_LOAD32    equ 1
FAMILY_LOAD16    equ 2
FAMILY_LOAD8     equ 3
FAMILY_LOADHIGH  equ 4
FAMILY_STORE64   equ 5
FAMILY_STORE32   equ 6
FAMILY_STORE16   equ 7
FAMILY_STORE8    equ 8
FAMILY_STOREHIGH equ 9
FAMILY_IMM       equ 10
FAMILY_MOVZX     equ 11
FAMILY_MOVSX     equ 12
FAMILY_MOVSXD    equ 13
FAMILY_BASE      equ 14
FAMILY_INDEX     equ 15
FAMILY_NOBASE    equ 16
FAMILY_RSP       equ 17
FAMILY_ADDR32    equ 18
FAMILY_SEGMENT   equ 19
FAMILY_PREFIX    equ 20

; Every register as destination and as source; the base moves along (never RSP, and RSP is no operand).
%assign r 0
%rep 16
%if r != 4
%assign b (r + 3) % 16
%if b == 4
%assign b 5
%endif
        FORM FAMILY_LOAD64, LOAD, 8, r, 8, ZERO, 0, b, NONE, 0, 8, 0, 0, {mov R64_%[r], [R64_%[b]]}
        FORM FAMILY_LOAD32, LOAD, 4, r, 4, ZERO, 0, b, NONE, 0, 8, 0, 0, {mov R32_%[r], [R64_%[b]]}
        FORM FAMILY_LOAD16, LOAD, 2, r, 2, KEEP, 0, b, NONE, 0, 8, 0, 0, {mov R16_%[r], [R64_%[b]]}
        FORM FAMILY_LOAD8, LOAD, 1, r, 1, KEEP, 0, b, NONE, 0, 8, 0, 0, {mov R8_%[r], [R64_%[b]]}
        FORM FAMILY_STORE64, STORE, 8, r, 8, ZERO, 0, b, NONE, 0, 8, 0, 0, {mov [R64_%[b]], R64_%[r]}
        FORM FAMILY_STORE32, STORE, 4, r, 4, ZERO, 0, b, NONE, 0, 8, 0, 0, {mov [R64_%[b]], R32_%[r]}
        FORM FAMILY_STORE16, STORE, 2, r, 2, ZERO, 0, b, NONE, 0, 8, 0, 0, {mov [R64_%[b]], R16_%[r]}
        FORM FAMILY_STORE8, STORE, 1, r, 1, ZERO, 0, b, NONE, 0, 8, 0, 0, {mov [R64_%[b]], R8_%[r]}
        ; destination = base
        FORM FAMILY_LOAD64, LOAD, 8, r, 8, ZERO, 0, r, NONE, 0, 8, 0, 0, {mov R64_%[r], [R64_%[r]]}
        FORM FAMILY_LOAD32, LOAD, 4, r, 4, ZERO, 0, r, NONE, 0, 8, 0, 0, {mov R32_%[r], [R64_%[r]]}
        FORM FAMILY_MOVZX, LOAD, 1, r, 2, KEEP, 0, b, NONE, 0, 8, 0, 0, {movzx R16_%[r], byte [R64_%[b]]}
        FORM FAMILY_MOVZX, LOAD, 1, r, 4, ZERO, 0, b, NONE, 0, 8, 0, 0, {movzx R32_%[r], byte [R64_%[b]]}
        FORM FAMILY_MOVZX, LOAD, 1, r, 8, ZERO, 0, b, NONE, 0, 8, 0, 0, {movzx R64_%[r], byte [R64_%[b]]}
        FORM FAMILY_MOVZX, LOAD, 2, r, 4, ZERO, 0, b, NONE, 0, 8, 0, 0, {movzx R32_%[r], word [R64_%[b]]}
        FORM FAMILY_MOVZX, LOAD, 2, r, 8, ZERO, 0, b, NONE, 0, 8, 0, 0, {movzx R64_%[r], word [R64_%[b]]}
        FORM FAMILY_MOVSX, LOAD, 1, r, 2, SIGN, 0, b, NONE, 0, 8, 0, 0, {movsx R16_%[r], byte [R64_%[b]]}
        FORM FAMILY_MOVSX, LOAD, 1, r, 4, SIGN, 0, b, NONE, 0, 8, 0, 0, {movsx R32_%[r], byte [R64_%[b]]}
        FORM FAMILY_MOVSX, LOAD, 1, r, 8, SIGN, 0, b, NONE, 0, 8, 0, 0, {movsx R64_%[r], byte [R64_%[b]]}
        FORM FAMILY_MOVSX, LOAD, 2, r, 4, SIGN, 0, b, NONE, 0, 8, 0, 0, {movsx R32_%[r], word [R64_%[b]]}
        FORM FAMILY_MOVSX, LOAD, 2, r, 8, SIGN, 0, b, NONE, 0, 8, 0, 0, {movsx R64_%[r], word [R64_%[b]]}
        FORM FAMILY_MOVSXD, LOAD, 4, r, 8, SIGN, 0, b, NONE, 0, 8, 0, 0, {movsxd R64_%[r], dword [R64_%[b]]}
        ; each base with every size of displacement
        FORM FAMILY_BASE, LOAD, 4, b, 4, ZERO, 0, r, NONE, 0, 8, 0x10, 0, {mov R32_%[b], [byte R64_%[r] + 0x10]}
        FORM FAMILY_BASE, LOAD, 2, b, 2, KEEP, 0, r, NONE, 0, 8, -0x80, 0, {mov R16_%[b], [R64_%[r] - 0x80]}
        FORM FAMILY_BASE, STORE, 8, b, 8, ZERO, 0, r, NONE, 0, 8, 0x12345678, 0, {mov [R64_%[r] + 0x12345678], R64_%[b]}
        FORM FAMILY_BASE, STORE, 1, b, 1, ZERO, 0, r, NONE, 0, 8, -0x7fffffff, 0, {mov [R64_%[r] - 0x7fffffff], R8_%[b]}
        FORM FAMILY_BASE, STORE, 4, b, 4, ZERO, 0, r, NONE, 0, 8, 0, 0, {mov [dword R64_%[r] + 0], R32_%[b]}
        ; each index with every scale, and with the base the same register
%assign s 0
%rep 4
%assign f 1 << s
%assign d (r + 1) % 3
        FORM FAMILY_INDEX, LOAD, 4, d, 4, ZERO, 0, b, r, s, 8, 0, 0, {mov R32_%[d], [R64_%[b] + R64_%[r] * f]}
        FORM FAMILY_INDEX, LOAD, 8, r, 8, ZERO, 0, b, r, s, 8, 0x40, 0, {mov R64_%[r], [R64_%[b] + R64_%[r] * f + 0x40]}
        FORM FAMILY_INDEX, STORE, 2, r, 2, ZERO, 0, b, r, s, 8, -0x12345, 0, {mov [R64_%[b] + R64_%[r] * f - 0x12345], R16_%[r]}
%if s > 0
        FORM FAMILY_NOBASE, LOAD, 4, b, 4, ZERO, 0, NONE, r, s, 8, 0x1000, 0, {mov R32_%[b], [nosplit R64_%[r] * f + 0x1000]}
        FORM FAMILY_NOBASE, STORE, 1, b, 1, ZERO, 0, NONE, r, s, 8, 0, 0, {mov [nosplit R64_%[r] * f + 0], R8_%[b]}
%endif
%assign s s + 1
%endrep
        FORM FAMILY_RSP, LOAD, 8, b, 8, ZERO, 0, 4, r, 0, 8, 0, 0, {mov R64_%[b], [rsp + R64_%[r]]}
        FORM FAMILY_RSP, STORE, 4, b, 4, ZERO, 0, 4, r, 0, 8, 0x100, 0, {mov [rsp + R64_%[r] + 0x100], R32_%[b]}
        ; 32-bit addresses
        FORM FAMILY_ADDR32, LOAD, 8, b, 8, ZERO, 0, r, NONE, 0, 4, 0, 0, {mov R64_%[b], [R32_%[r]]}
        FORM FAMILY_ADDR32, STORE, 4, b, 4, ZERO, 0, r, NONE, 0, 4, -8, 0, {mov [R32_%[r] - 8], R32_%[b]}
        FORM FAMILY_ADDR32, LOAD, 1, r, 4, SIGN, 0, b, r, 2, 4, 0x55555, 0, {movsx R32_%[r], byte [R32_%[b] + R32_%[r] * 4 + 0x55555]}
%endif
%assign r r + 1
%endrep

; RSP as operand of a store (as destination of a load it would lose the stack).
        FORM FAMILY_STORE64, STORE, 8, 4, 8, ZERO, 0, 3, NONE, 0, 8, 0, 0, {mov [rbx], rsp}
        FORM FAMILY_STORE32, STORE, 4, 4, 4, ZERO, 0, 9, NONE, 0, 8, 0, 0, {mov [r9], esp}
        FORM FAMILY_STORE16, STORE, 2, 4, 2, ZERO, 0, 13, NONE, 0, 8, 0, 0, {mov [r13], sp}
        FORM FAMILY_STORE8, STORE, 1, 4, 1, ZERO, 0, 12, NONE, 0, 8, 0, 0, {mov [r12], spl}

; High bytes: no REX prefix, so legacy bases; base may be the register itself.
%assign h 0
%rep 4
        FORM FAMILY_LOADHIGH, LOAD, 1, h, 1, KEEP, 1, 6, NONE, 0, 8, 0, 0, {mov H8_%[h], [rsi]}
        FORM FAMILY_LOADHIGH, LOAD, 1, h, 1, KEEP, 1, h, NONE, 0, 8, 0, 0, {mov H8_%[h], [R64_%[h]]}
        FORM FAMILY_LOADHIGH, LOAD, 1, h, 1, KEEP, 1, 5, 7, 3, 8, 5, 0, {mov H8_%[h], [rbp + rdi * 8 + 5]}
        FORM FAMILY_STOREHIGH, STORE, 1, h, 1, ZERO, 1, 7, NONE, 0, 8, 0, 0, {mov [rdi], H8_%[h]}
        FORM FAMILY_STOREHIGH, STORE, 1, h, 1, ZERO, 1, h, NONE, 0, 8, 0, 0, {mov [R64_%[h]], H8_%[h]}
        FORM FAMILY_STOREHIGH, STORE, 1, h, 1, ZERO, 1, 6, h, 1, 8, 0x777, 0, {mov [rsi + R64_%[h] * 2 + 0x777], H8_%[h]}
%assign h h + 1
%endrep

; Immediates; those of 8-byte stores are sign-extended from 32 bits.
%macro IMM 2
        FORM FAMILY_IMM, STORE_IMM, 1, NONE, 1, ZERO, 0, %1, NONE, 0, 8, 0, 0x9c, {mov byte [%2], 0x9c}
        FORM FAMILY_IMM, STORE_IMM, 2, NONE, 2, ZERO, 0, %1, NONE, 0, 8, 4, 0xfedc, {mov word [%2 + 4], 0xfedc}
        FORM FAMILY_IMM, STORE_IMM, 4, NONE, 4, ZERO, 0, %1, NONE, 0, 8, 0x1234, 0x89abcdef, {mov dword [%2 + 0x1234], 0x89abcdef}
        FORM FAMILY_IMM, STORE_IMM, 8, NONE, 8, ZERO, 0, %1, NONE, 0, 8, 0, 0x7654321, {mov qword [%2], 0x7654321}
        FORM FAMILY_IMM, STORE_IMM, 8, NONE, 8, ZERO, 0, %1, NONE, 0, 8, -4, -0x7654321, {mov qword [%2 - 4], -0x7654321}
        FORM FAMILY_IMM, STORE_IMM, 8, NONE, 8, ZERO, 0, %1, 1, 3, 8, 0x12345, -1, {mov qword [%2 + rcx * 8 + 0x12345], -1}
%endmacro
        IMM 0, rax
        IMM 5, rbp
        IMM 12, r12
        IMM 13, r13

; Segment prefixes: ES, CS, SS and DS change nothing; FS and GS add their base (t_forms.c sets them; the
; displacement here is without it: family SEGMENT knows the base by the 'high' field: 4 FS, 5 GS).
        FORM FAMILY_SEGMENT, LOAD, 4, 0, 4, ZERO, 0, 3, NONE, 0, 8, 0, 0, {es mov eax, [rbx]}
        FORM FAMILY_SEGMENT, LOAD, 4, 0, 4, ZERO, 0, 3, NONE, 0, 8, 0, 0, {cs mov eax, [rbx]}
        FORM FAMILY_SEGMENT, STORE, 8, 1, 8, ZERO, 0, 3, NONE, 0, 8, 0, 0, {ss mov [rbx], rcx}
        FORM FAMILY_SEGMENT, LOAD, 4, 0, 4, ZERO, 0, 5, NONE, 0, 8, 0, 0, {ds mov eax, [rbp]}
        FORM FAMILY_SEGMENT, LOAD, 4, 0, 4, ZERO, 4, 3, NONE, 0, 8, 0, 0, {mov eax, [fs:rbx]}
        FORM FAMILY_SEGMENT, STORE, 2, 9, 2, ZERO, 4, 3, 1, 2, 8, 0x10, 0, {mov [fs:rbx + rcx * 4 + 0x10], r9w}
        FORM FAMILY_SEGMENT, LOAD, 1, 2, 8, SIGN, 5, 14, NONE, 0, 8, 0x1000, 0, {movsx rdx, byte [gs:r14 + 0x1000]}
        FORM FAMILY_SEGMENT, STORE_IMM, 4, NONE, 4, ZERO, 5, 7, NONE, 0, 4, 0, 0x13572468, {mov dword [gs:edi], 0x13572468}

; Prefixes that change nothing: 66 beside REX.W, repeated ones, REX that is not last, REX without bits.
        FORM FAMILY_PREFIX, LOAD, 8, 0, 8, ZERO, 0, 3, NONE, 0, 8, 0, 0, {db 0x66, 0x48, 0x8b, 0x03}
        FORM FAMILY_PREFIX, LOAD, 2, 0, 2, KEEP, 0, 3, NONE, 0, 8, 0, 0, {db 0x66, 0x66, 0x66, 0x8b, 0x03}
        FORM FAMILY_PREFIX, LOAD, 2, 0, 2, KEEP, 0, 3, NONE, 0, 8, 0, 0, {db 0x48, 0x66, 0x8b, 0x03}
        FORM FAMILY_PREFIX, STORE, 1, 4, 1, ZERO, 0, 3, NONE, 0, 8, 0, 0, {db 0x40, 0x88, 0x23}
        FORM FAMILY_PREFIX, STORE, 8, 1, 8, ZERO, 0, 3, NONE, 0, 8, 0, 0, {db 0x2e, 0x3e, 0x66, 0x26, 0x48, 0x89, 0x0b}
        FORM FAMILY_PREFIX, STORE_IMM, 2, NONE, 2, ZERO, 0, 3, NONE, 0, 8, 0x11223344, 0xaabb, {db 0x66, 0xc7, 0x83, 0x44, 0x33, 0x22, 0x11, 0xbb, 0xaa}
        FORM FAMILY_PREFIX, STORE_IMM, 8, NONE, 8, ZERO, 0, 3, NONE, 0, 8, 0, -2, {db 0x66, 0x66, 0x66, 0x48, 0xc7, 0x83, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}
; SIB forms that say the same as shorter ones: no index (100), base with needless SIB.
        FORM FAMILY_PREFIX, LOAD, 4, 0, 4, ZERO, 0, 3, NONE, 0, 8, 0, 0, {db 0x8b, 0x04, 0x23}
        FORM FAMILY_PREFIX, LOAD, 4, 0, 4, ZERO, 0, 3, NONE, 0, 8, 0, 0, {db 0x8b, 0x04, 0xe3}
        FORM FAMILY_PREFIX, LOAD, 4, 0, 4, ZERO, 0, 3, 12, 0, 8, 0, 0, {db 0x42, 0x8b, 0x04, 0x23}

; Not emulated: memory operand in RBX (copies: destination RDI or source RSI), #UD on a trapped page.
        global guest_refused, guest_refused_end
%macro REFUSED 2
        section .text
%%start: %2
%%end:  ret
        section .rodata
%%name: db %1, 0
        section .refused progbits alloc noexec nowrite align=8
        dq %%start, %%name
%endmacro
        section .refused progbits alloc noexec nowrite align=8
guest_refused:
        REFUSED "insb", {insb}
        REFUSED "rep outsb, source RSI", {rep outsb}
        REFUSED "fld qword [m]", {fld qword [rbx]}
        REFUSED "fstp tword [m]", {fstp tword [rbx]}
        REFUSED "fnstcw [m]", {fnstcw [rbx]}
        REFUSED "fxsave [m]", {fxsave [rbx]}
        REFUSED "ldmxcsr [m]", {ldmxcsr [rbx]}
        REFUSED "movq mm0, [m]", {movq mm0, [rbx]}
        REFUSED "movq [m], mm1", {movq [rbx], mm1}
        REFUSED "paddd mm0, [m]", {paddd mm0, [rbx]}
        REFUSED "paddd xmm0, [m]", {paddd xmm0, [rbx]}
        REFUSED "addps xmm1, [m]", {addps xmm1, [rbx]}
        REFUSED "pinsrw xmm1, [m], 3", {pinsrw xmm1, [rbx], 3}
        REFUSED "mov [m], ds", {mov [rbx], ds}
        REFUSED "mov es, [m]", {mov es, [rbx]}
        REFUSED "shl dword [m], 3", {shl dword [rbx], 3}
        REFUSED "ror byte [m], cl", {ror byte [rbx], cl}
        REFUSED "imul ecx, [m]", {imul ecx, [rbx]}
        REFUSED "div dword [m]", {div dword [rbx]}
        REFUSED "cmovc ecx, [m]", {cmovc ecx, [rbx]}
        REFUSED "setz [m]", {setz [rbx]}
        REFUSED "bsf ecx, [m]", {bsf ecx, [rbx]}
        REFUSED "xlatb", {xlatb}
        REFUSED "call [m]", {call [rbx]}
        REFUSED "jmp [m]", {jmp [rbx]}
        REFUSED "sgdt [m]", {sgdt [rbx]}
        REFUSED "shld [m], ecx, 4", {shld [rbx], ecx, 4}
        section .refused
guest_refused_end:

        section .note.GNU-stack noalloc noexec nowrite progbits
