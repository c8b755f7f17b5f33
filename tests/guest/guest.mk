# The guest test kernel: build/guest.elf. Included by the Makefile; stands alone too:
#   make -f tests/guest/guest.mk build/guest.elf
GUEST_C_SRCS := $(sort $(wildcard tests/guest/*.c))
GUEST_ASM_SRCS := $(sort $(wildcard tests/guest/*.asm))
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
