; Instructions for checks that need a few of them, as bytes with their number in front.
        default rel

%macro S 2+
        global code_%1
code_%1:
        db %%end - %%start
%%start:
        %2
%%end:
%endmacro

        section .rodata
        bits 64
        S mov_load, mov eax, [rbx]
        S mov_load_8, mov rax, [rbx]
        S mov_store, mov [rbx], eax
        S mov_store_8, mov [rbx], rax
        S add_load, add eax, [rbx]
        S add_store, add [rbx], eax
        S cmp_load, cmp [rbx], eax
        S lock_xadd, lock xadd [rbx], eax
        S xchg, xchg [rbx], rcx
        S cmpxchg8b, lock cmpxchg8b [rbx]
        S bts, bts dword [rbx], 31
        S push_mem, push qword [rbx]
        S pop_mem, pop qword [rbx]
        S movups_load, movups xmm0, [rbx]
        S movups_store, movups [rbx], xmm0
        S movaps_store, movaps [rbx], xmm0
        S vmovups_load, vmovups ymm1, [rbx]
        S movsd, movsd
        S movsq, movsq
        S cmpsd, cmpsd
        S rep_movsd, rep movsd
        S rep_stosd, rep stosd
        S rep_lodsd, rep lodsd
        S repe_cmpsd, repe cmpsd
        S cpuid, cpuid
        S sti_store, {db 0xfb, 0x89, 0x03, 0xfa} ; sti; mov [rbx], eax; cli
        S ss_store, {db 0x8e, 0xd0, 0x89, 0x0b} ; mov ss, eax; mov [rbx], ecx

        section .note.GNU-stack noalloc noexec nowrite progbits
