; Moves of one vector register: a row of 16 stubs of 8 bytes for each kind, entered by number. vector.h
bits 64
default rel

global vector_get:function hidden
global vector_set:function hidden

%macro STUBS 2+                      ; name, the instruction with R for the register
align 8
%1:
%assign n 0
%rep 16
%xdefine X xmm %+ n
%xdefine Y ymm %+ n
align 8
    %2
    ret
%assign n n + 1
%endrep
%undef X                            ; else the next caller's X is this one's last
%undef Y
%endmacro

section .text

; void vector_get(unsigned reg, unsigned bytes, void *to)
align 16
vector_get:
    lea rax, [get_16]
    lea rcx, [get_32]
    cmp esi, 32
    cmove rax, rcx
    mov edi, edi
    lea rax, [rax + rdi * 8]
    jmp rax

; void vector_set(unsigned reg, unsigned bytes, bool zero, const void *from)
align 16
vector_set:
    lea rax, [set_16]
    lea r8, [set_zero]
    lea r9, [set_32]
    test dl, dl
    cmovnz rax, r8
    cmp esi, 32
    cmove rax, r9
    mov rdx, rcx
    mov edi, edi
    lea rax, [rax + rdi * 8]
    jmp rax

STUBS get_16, movups [rdx], X
STUBS get_32, vmovups [rdx], Y
STUBS set_16, movups X, [rdx]
STUBS set_zero, vmovups X, [rdx]
STUBS set_32, vmovups Y, [rdx]
