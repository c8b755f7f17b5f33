# The guest test kernel: build/guest.elf. Included by the Makefile; stands alone too:
#   make -f tests/guest/guest.mk build/guest.elf
GUEST_C_SRCS := $(addprefix tests/guest/, arena.c bench.c cpu.c kit.c lab.c main.c oracle.c paging.c pci.c \
	serial.c state.c t_bars.c t_batch.c t_big.c t_chance.c t_churn.c t_cpu.c t_cross.c t_display.c t_doorbell.c t_dynamic.c \
	t_fatal.c t_faults.c t_forms.c t_insn.c t_many.c t_memory.c t_modes.c t_names.c t_overlap.c t_pci.c t_ranges.c t_regs.c t_replace.c \
	t_reserve.c t_resize.c t_rom.c t_section.c t_share.c t_status.c t_step.c t_storm.c t_stress.c t_string.c \
	t_trap.c t_types.c t_view.c t_window.c tap.c traps.c)
GUEST_ASM_SRCS := $(addprefix tests/guest/, forms.asm insn.asm modes.asm snippets.asm start.asm state.asm stubs.asm)
GUEST_SRCS := $(GUEST_C_SRCS) $(GUEST_ASM_SRCS)
GUEST_OBJS := $(GUEST_C_SRCS:tests/%.c=build/%.o) $(GUEST_ASM_SRCS:tests/%.asm=build/%.asm.o)

GUEST_CC ?= gcc
GUEST_LD ?= ld
GUEST_NASM ?= nasm
GUEST_WARN := -Wall -Wextra -Werror -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wundef -Wvla -Wcast-qual -Wcast-align -Wpointer-arith -Wwrite-strings \
	-Wformat=2 -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Wframe-larger-than=1024
GUEST_CFLAGS := -std=gnu11 -O2 -g $(GUEST_WARN) -I. -ffreestanding -fno-builtin -mgeneral-regs-only \
	-mno-red-zone -fno-pic -fno-pie -mcmodel=small -fno-stack-protector -fno-strict-aliasing \
	-fcf-protection=none -fno-asynchronous-unwind-tables
GUEST_LDFLAGS := -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments \
	--build-id=none -T tests/guest/guest.ld

build/guest.elf: $(GUEST_OBJS) tests/guest/guest.ld
	$(say) link $@
	$(Q)$(GUEST_LD) $(GUEST_LDFLAGS) -o $@ $(GUEST_OBJS)

build/guest/%.o: tests/guest/%.c tests/guest/guest.mk
	$(Q)mkdir -p $(@D)
	$(say) guest $<
	$(Q)$(GUEST_CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

build/guest/%.asm.o: tests/guest/%.asm tests/guest/guest.mk
	$(Q)mkdir -p $(@D)
	$(say) guest $<
	$(Q)$(GUEST_NASM) -f elf64 -g -Werror -w-prefix-seg -o $@ $<

-include $(GUEST_OBJS:.o=.d)
