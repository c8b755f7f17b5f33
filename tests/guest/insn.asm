; Every instruction that is emulated, in every width and form of operand: tiny functions with a description, run on RAM
; and on a trapped page by t_insn.c, which compares. How addresses are formed is the business of forms.asm.
        default rel
        bits 64

        global insn_forms, insn_forms_end, insn_families, insn_families_end
        extern state_back

%include "tests/guest/names.inc"

; The flags that an instruction defines or leaves alone; those that it leaves undefined are not compared.
ALL   equ 0x8d5 ; CF PF AF ZF SF OF
LOGIC equ 0x8c5 ; without AF
BITS_ equ 0x041 ; CF ZF

; What the CPU must have.
HAS_MOVBE equ 1
HAS_CX16  equ 2
HAS_SSE3  equ 3
HAS_SSE41 equ 4
HAS_AVX   equ 5
HAS_AVX2  equ 6

; Peculiarities.
ALIGNED  equ 1   ; #GP unless the operand is aligned to its width
VECTOR   equ 2   ; compare the vector registers at every alignment
BITINDEX equ 4   ; RCX is a bit's number and may lead away from the operand
EQUAL    equ 8   ; every other time the accumulator is what memory holds
STACK    equ 16  ; RSP is the operand's address
PAIR     equ 32  ; the accumulator is rDX:rAX

        section .rodata.insn_families progbits alloc noexec nowrite align=8
insn_families:
        section .rodata.insn_forms progbits alloc noexec nowrite align=8
insn_forms:

%assign family -1
%macro FAMILY 1
%assign family family + 1
        section .rodata
%%name: db %1, 0
        section .rodata.insn_families
        dq %%name
%endmacro

; I bytes read, bytes written, flags, needs, peculiarities, instruction.   struct form in t_insn.c
; Operand: [rbx], [r13 + r14 * 4 - 0x123], [fs:r12] or [r15d], which are one place.
; AT: the write lies that far behind the read.
%define AT 0
%macro I 6+
        section .text
%%start:
        %6
        jmp qword [abs state_back]
        section .rodata
%defstr %%text %6
%%name: db %%text, 0
        section .rodata.insn_forms
        dq %%start, %%name
        dw %3
        db %1, %2, %4, %5, family, AT
%endmacro

; The same instruction in the widths 2, 4, 8 for TEXT with the words SIZE and REGISTERS: A rax, B r10, C rcx.
%macro WIDTHS 1
%define SIZE word
%define A ax
%define B r10w
%define C cx
%define IMM 0xa53c
        %1 2
%define SIZE dword
%define A eax
%define B r10d
%define C ecx
%define IMM 0x8a7b6c5d
        %1 4
%define SIZE qword
%define A rax
%define B r10
%define C rcx
%define IMM -0x7a6b5c4d
        %1 8
%endmacro

%define M [rbx]
%define N [r13 + r14 * 4 - 0x123]

; ---- moves ----

        FAMILY "mov"
        I 1, 0, ALL, 0, 0, mov al, M
        I 1, 0, ALL, 0, 0, mov dh, M
        I 1, 0, ALL, 0, 0, mov sil, N
        I 1, 0, ALL, 0, 0, mov r9b, [r15d]
        I 0, 1, ALL, 0, 0, mov M, cl
        I 0, 1, ALL, 0, 0, mov M, ch
        I 0, 1, ALL, 0, 0, mov N, bpl
        I 0, 1, ALL, 0, 0, mov byte [fs:r12], 0x9c
%macro MOVES 1
        I %1, 0, ALL, 0, 0, mov A, M
        I %1, 0, ALL, 0, 0, mov B, N
        I 0, %1, ALL, 0, 0, mov M, A
        I 0, %1, ALL, 0, 0, mov [fs:r12], B
        I 0, %1, ALL, 0, 0, mov SIZE M, IMM
%endmacro
        WIDTHS MOVES
        FAMILY "movzx, movsx, movsxd"
%macro EXTENSIONS 1
        I 1, 0, ALL, 0, 0, %1 ax, byte M
        I 1, 0, ALL, 0, 0, %1 edx, byte M
        I 1, 0, ALL, 0, 0, %1 r8, byte N
        I 2, 0, ALL, 0, 0, %1 ecx, word M
        I 2, 0, ALL, 0, 0, %1 r11, word [r15d]
%endmacro
        EXTENSIONS movzx
        EXTENSIONS movsx
        I 4, 0, ALL, 0, 0, movsxd rax, dword M
        I 4, 0, ALL, 0, 0, movsxd r10, dword [fs:r12]
        FAMILY "movbe"
%macro SWAPS 1
        I %1, 0, ALL, HAS_MOVBE, 0, movbe A, M
        I %1, 0, ALL, HAS_MOVBE, 0, movbe B, N
        I 0, %1, ALL, HAS_MOVBE, 0, movbe M, C
        I 0, %1, ALL, HAS_MOVBE, 0, movbe [r15d], B
%endmacro
        WIDTHS SWAPS
        FAMILY "movnti"
        I 0, 4, ALL, 0, 0, movnti M, eax
        I 0, 4, ALL, 0, 0, movnti N, r10d
        I 0, 8, ALL, 0, 0, movnti M, rcx
        I 0, 8, ALL, 0, 0, movnti [fs:r12], r9

; ---- two operands ----

; name, flags, 1 if memory is written and LOCK allowed
%macro ALU 3
        FAMILY %1
%defstr %%unused %1
%deftok OP %1
%define FLAGS %2
%define WRITES %3
        I 1, 1 * %3, %2, 0, 0, OP M, al
        I 1, 1 * %3, %2, 0, 0, OP M, ch
        I 1, 1 * %3, %2, 0, 0, OP N, sil
        I 1, 1 * %3, %2, 0, 0, OP [fs:r12], r9b
        I 1, 0, %2, 0, 0, OP dl, M
        I 1, 0, %2, 0, 0, OP ah, M
        I 1, 0, %2, 0, 0, OP r8b, N
        I 1, 1 * %3, %2, 0, 0, OP byte M, 0x85
%if %3
        I 1, 1, %2, 0, 0, lock OP M, dl
        I 1, 1, %2, 0, 0, lock OP byte N, 0x7e
%endif
%macro BOTH 1
        I %1, %1 * WRITES, FLAGS, 0, 0, OP M, A
        I %1, %1 * WRITES, FLAGS, 0, 0, OP [r15d], B
        I %1, 0, FLAGS, 0, 0, OP A, M
        I %1, 0, FLAGS, 0, 0, OP B, N
        I %1, %1 * WRITES, FLAGS, 0, 0, OP SIZE M, IMM
        I %1, %1 * WRITES, FLAGS, 0, 0, OP SIZE N, byte -0x35
%if WRITES
        I %1, %1, FLAGS, 0, 0, lock OP M, C
        I %1, %1, FLAGS, 0, 0, lock OP SIZE N, byte 0x35
%endif
%endmacro
        WIDTHS BOTH
%unmacro BOTH 1
%endmacro
        ALU "add", ALL, 1
        ALU "or", LOGIC, 1
        ALU "adc", ALL, 1
        ALU "sbb", ALL, 1
        ALU "and", LOGIC, 1
        ALU "sub", ALL, 1
        ALU "xor", LOGIC, 1
        ALU "cmp", ALL, 0

        FAMILY "test"
        I 1, 0, LOGIC, 0, 0, test M, al
        I 1, 0, LOGIC, 0, 0, test M, bh
        I 1, 0, LOGIC, 0, 0, test N, r9b
        I 1, 0, LOGIC, 0, 0, test byte M, 0x91
%macro TESTS 1
        I %1, 0, LOGIC, 0, 0, test M, A
        I %1, 0, LOGIC, 0, 0, test N, B
        I %1, 0, LOGIC, 0, 0, test SIZE [r15d], IMM
%endmacro
        WIDTHS TESTS

; ---- one operand ----

%macro ONE 2
        FAMILY %1
%deftok OP %1
%define FLAGS %2
        I 1, 1, FLAGS, 0, 0, OP byte M
        I 1, 1, FLAGS, 0, 0, OP byte [fs:r12]
        I 1, 1, FLAGS, 0, 0, lock OP byte N
%macro BOTH 1
        I %1, %1, FLAGS, 0, 0, OP SIZE M
        I %1, %1, FLAGS, 0, 0, OP SIZE N
        I %1, %1, FLAGS, 0, 0, lock OP SIZE [r15d]
%endmacro
        WIDTHS BOTH
%unmacro BOTH 1
%endmacro
        ONE "not", ALL
        ONE "neg", ALL
        ONE "inc", ALL
        ONE "dec", ALL

; ---- bits ----

; name, 1 if it writes
%macro BIT 2
        FAMILY %1
%deftok OP %1
%define WRITES %2
%macro BOTH 1
        I %1, %1 * WRITES, BITS_, 0, BITINDEX, OP M, C
        I %1, %1 * WRITES, BITS_, 0, BITINDEX, OP N, C
        I %1, %1 * WRITES, BITS_, 0, 0, OP SIZE M, 3
        I %1, %1 * WRITES, BITS_, 0, 0, OP SIZE [fs:r12], 0xff
%if WRITES
        I %1, %1, BITS_, 0, BITINDEX, lock OP M, C
        I %1, %1, BITS_, 0, 0, lock OP SIZE N, 0x6d
%endif
%endmacro
        WIDTHS BOTH
%unmacro BOTH 1
%endmacro
        BIT "bt", 0
        BIT "bts", 1
        BIT "btr", 1
        BIT "btc", 1

; ---- exchanges ----

%macro EXCHANGE 3 ; name, peculiarities, flags
        FAMILY %1
%deftok OP %1
%define HOW %2
        I 1, 1, ALL, 0, HOW, OP M, cl
        I 1, 1, ALL, 0, HOW, OP M, dh
        I 1, 1, ALL, 0, HOW, OP N, r9b
        I 1, 1, ALL, 0, HOW, lock OP [fs:r12], sil
%macro BOTH 1
        I %1, %1, ALL, 0, HOW, OP M, C
        I %1, %1, ALL, 0, HOW, OP N, B
        I %1, %1, ALL, 0, HOW, lock OP M, B
        I %1, %1, ALL, 0, HOW, lock OP [r15d], A
%endmacro
        WIDTHS BOTH
%unmacro BOTH 1
%endmacro
        EXCHANGE "xchg", 0, 0
        EXCHANGE "xadd", 0, 0
        EXCHANGE "cmpxchg", EQUAL, 0
        FAMILY "cmpxchg8b, cmpxchg16b"
        I 8, 8, ALL, 0, EQUAL + PAIR, cmpxchg8b N
        I 8, 8, ALL, 0, EQUAL + PAIR, lock cmpxchg8b N
        I 16, 16, ALL, HAS_CX16, EQUAL + PAIR + ALIGNED, cmpxchg16b N
        I 16, 16, ALL, HAS_CX16, EQUAL + PAIR + ALIGNED, lock cmpxchg16b N

; ---- the stack: the other side of the copy is RAM, or for STACK the same page ----

        FAMILY "push, pop"
        I 8, 0, ALL, 0, 0, push qword M
        I 8, 0, ALL, 0, 0, push qword N
        I 2, 0, ALL, 0, 0, push word M
        I 0, 8, ALL, 0, 0, pop qword M
        I 0, 8, ALL, 0, 0, pop qword [fs:r12]
        I 0, 2, ALL, 0, 0, pop word N
        I 8, 0, ALL, 0, 0, db 0x48, 0xff, 0x33 ; REX.W changes nothing
%define AT -8
        I 8, 8, ALL, 0, STACK, push qword [rsp]
%define AT 8
        I 8, 8, ALL, 0, STACK, pop qword [rsp]
%define AT -2
        I 2, 2, ALL, 0, STACK, push word [rsp]
%define AT 2
        I 2, 2, ALL, 0, STACK, pop word [rsp]
%define AT 0

; ---- vectors ----

; load and store of 16 bytes
%macro V16 3 ; name, peculiarities, 1 if there is a load
        I 0, 16, ALL, 0, VECTOR + %2, %1 M, xmm1
        I 0, 16, ALL, 0, VECTOR + %2, %1 N, xmm13
%if %3
        I 16, 0, ALL, 0, VECTOR + %2, %1 xmm2, M
        I 16, 0, ALL, 0, VECTOR + %2, %1 xmm14, N
%endif
%endmacro
; the same with VEX, 16 and 32 bytes
%macro VEX 3
        I 0, 16, ALL, HAS_AVX, VECTOR + %2, %1 M, xmm3
        I 0, 32, ALL, HAS_AVX, VECTOR + %2, %1 N, ymm12
%if %3
        I 16, 0, ALL, HAS_AVX, VECTOR + %2, %1 xmm11, N
        I 32, 0, ALL, HAS_AVX, VECTOR + %2, %1 ymm4, M
        I 32, 0, ALL, HAS_AVX, VECTOR + %2, %1 ymm15, [fs:r12]
%endif
%endmacro
        FAMILY "movups, movupd, movdqu"
        V16 movups, 0, 1
        V16 movupd, 0, 1
        V16 movdqu, 0, 1
        I 16, 0, ALL, HAS_SSE3, VECTOR, lddqu xmm5, M
        FAMILY "movaps, movapd, movdqa"
        V16 movaps, ALIGNED, 1
        V16 movapd, ALIGNED, 1
        V16 movdqa, ALIGNED, 1
        FAMILY "movntps, movntpd, movntdq, movntdqa"
        V16 movntps, ALIGNED, 0
        V16 movntpd, ALIGNED, 0
        V16 movntdq, ALIGNED, 0
        I 16, 0, ALL, HAS_SSE41, VECTOR + ALIGNED, movntdqa xmm6, M
        FAMILY "movd, movq, movss, movsd"
        I 4, 0, ALL, 0, VECTOR, movd xmm0, dword M
        I 4, 0, ALL, 0, VECTOR, movd xmm9, dword N
        I 0, 4, ALL, 0, VECTOR, movd dword M, xmm1
        I 8, 0, ALL, 0, VECTOR, movq xmm2, M
        I 0, 8, ALL, 0, VECTOR, movq M, xmm3
        I 8, 0, ALL, 0, VECTOR, {db 0x66, 0x48, 0x0f, 0x6e, 0x23} ; movq xmm4, [rbx] as movd with REX.W
        I 0, 8, ALL, 0, VECTOR, {db 0x66, 0x48, 0x0f, 0x7e, 0x23}
        I 4, 0, ALL, 0, VECTOR, movss xmm5, M
        I 0, 4, ALL, 0, VECTOR, movss N, xmm8
        I 8, 0, ALL, 0, VECTOR, movsd xmm6, M
        I 0, 8, ALL, 0, VECTOR, movsd [r15d], xmm10
        FAMILY "movlps, movlpd, movhps, movhpd"
%macro HALF 1
        I 8, 0, ALL, 0, VECTOR, %1 xmm7, M
        I 8, 0, ALL, 0, VECTOR, %1 xmm12, N
        I 0, 8, ALL, 0, VECTOR, %1 M, xmm7
%endmacro
        HALF movlps
        HALF movlpd
        HALF movhps
        HALF movhpd
        I 0, 8, ALL, HAS_AVX, VECTOR, vmovlps M, xmm3
        I 0, 8, ALL, HAS_AVX, VECTOR, vmovlpd N, xmm9
        I 0, 8, ALL, HAS_AVX, VECTOR, vmovhps N, xmm4
        I 0, 8, ALL, HAS_AVX, VECTOR, vmovhpd M, xmm10
        FAMILY "vmovups, vmovupd, vmovdqu"
        VEX vmovups, 0, 1
        VEX vmovupd, 0, 1
        VEX vmovdqu, 0, 1
        I 16, 0, ALL, HAS_AVX, VECTOR, vlddqu xmm5, M
        I 32, 0, ALL, HAS_AVX, VECTOR, vlddqu ymm5, M
        FAMILY "vmovaps, vmovapd, vmovdqa"
        VEX vmovaps, ALIGNED, 1
        VEX vmovapd, ALIGNED, 1
        VEX vmovdqa, ALIGNED, 1
        FAMILY "vmovntps, vmovntpd, vmovntdq, vmovntdqa"
        VEX vmovntps, ALIGNED, 0
        VEX vmovntpd, ALIGNED, 0
        VEX vmovntdq, ALIGNED, 0
        I 16, 0, ALL, HAS_AVX, VECTOR + ALIGNED, vmovntdqa xmm6, M
        I 32, 0, ALL, HAS_AVX2, VECTOR + ALIGNED, vmovntdqa ymm7, M
        FAMILY "vmovd, vmovq, vmovss, vmovsd"
        I 4, 0, ALL, HAS_AVX, VECTOR, vmovd xmm0, dword M
        I 0, 4, ALL, HAS_AVX, VECTOR, vmovd dword M, xmm9
        I 8, 0, ALL, HAS_AVX, VECTOR, vmovq xmm2, M
        I 0, 8, ALL, HAS_AVX, VECTOR, vmovq N, xmm3
        I 4, 0, ALL, HAS_AVX, VECTOR, vmovss xmm5, M
        I 0, 4, ALL, HAS_AVX, VECTOR, vmovss N, xmm8
        I 8, 0, ALL, HAS_AVX, VECTOR, vmovsd xmm6, M
        I 0, 8, ALL, HAS_AVX, VECTOR, vmovsd M, xmm10

        section .rodata.insn_families
insn_families_end:
        section .rodata.insn_forms
insn_forms_end:

        section .note.GNU-stack noalloc noexec nowrite progbits
