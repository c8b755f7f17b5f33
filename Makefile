# Barvisor: one Makefile, no recursion into rooms. `make help` lists what there is to do.
#
# build/gcc, build/clang   objects of the image, mirroring the tree (CC=gcc is the default)
# build/host               unit tests under ASan and UBSan
# build/barvisor.efi       the image; barvisor.elf beside it keeps the symbols for debuggers
# build/barvisor.img       a bootable GPT disk with \EFI\BOOT\BOOTX64.EFI, \barvisor.cfg and \guest.elf

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := image

PATH := $(PATH):/usr/sbin:/sbin
export PATH

ifeq ($(origin CC),default)
CC := gcc
endif
CC_NAME := $(if $(findstring clang,$(notdir $(CC))),clang,gcc)
HOSTCC  ?= gcc
NASM    ?= nasm
LD      := ld
OBJCOPY := objcopy
PYTHON  ?= /usr/bin/python3
EFI_INCLUDE ?= /usr/include/efi
EFI_LIB     ?= /usr/lib
CFG     ?= boot/barvisor.cfg

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif

# ---------------------------------------------------------------------------------------------- sources
# Every source by name, per room. `make lint` fails when a file of a room is missing here.

BASE_SRCS    := hv/base/log.c hv/base/status.c hv/base/string.c hv/base/tree.c
X86_SRCS     := hv/x86/desc.c hv/x86/isr.asm hv/x86/mtrr.c hv/x86/vector.asm
EPT_SRCS     := ept/ept.c ept/format.c ept/join.c ept/map.c ept/memtype.c ept/pool.c ept/report.c ept/unmap.c
MEM_SRCS     := hv/mem/backing.c hv/mem/blocks.c hv/mem/commit.c hv/mem/event.c hv/mem/extents.c hv/mem/frames.c \
                hv/mem/handle.c hv/mem/io_space.c hv/mem/ledger.c hv/mem/mapping.c hv/mem/section.c \
                hv/mem/section_bytes.c hv/mem/slab.c hv/mem/space.c hv/mem/space_view.c hv/mem/view.c \
                hv/mem/view_area.c hv/mem/view_record.c hv/mem/window.c
MMIO_SRCS    := hv/mmio/alu.c hv/mmio/emulate.c hv/mmio/insn.c hv/mmio/opcodes.c hv/mmio/region.c hv/mmio/strings.c
VM_SRCS      := hv/vm/access.c hv/vm/acpi.c hv/vm/alarm.c hv/vm/aml.c hv/vm/apic.c hv/vm/apic_msr.c \
                hv/vm/apic_send.c hv/vm/apic_timer.c hv/vm/cpuid.c hv/vm/create.c hv/vm/deliver.c hv/vm/exit.c \
                hv/vm/host_irq.c hv/vm/host_timer.c hv/vm/io.c hv/vm/loader.c hv/vm/memtype.c hv/vm/mmio.c \
                hv/vm/msr.c hv/vm/pause.c hv/vm/platform.c hv/vm/port.c hv/vm/trail.c hv/vm/vm.c hv/vm/walk.c
PCI_SRCS     := hv/pci/bar.c hv/pci/bus.c hv/pci/callbacks.c hv/pci/capability.c hv/pci/config.c hv/pci/device.c \
                hv/pci/doorbell.c hv/pci/edges.c hv/pci/guest_memory.c hv/pci/inspect.c hv/pci/leaves.c \
                hv/pci/model.c hv/pci/msi.c hv/pci/msix.c hv/pci/options.c hv/pci/place.c hv/pci/range.c \
                hv/pci/range_create.c hv/pci/records.c hv/pci/report.c hv/pci/resize.c hv/pci/scanout.c
CONSOLE_SRCS := hv/console/panic.c hv/console/report.c
VMX_SRCS     := hv/vmx/caps.c hv/vmx/entry.asm hv/vmx/memtype.c hv/vmx/run.c hv/vmx/setup.c hv/vmx/state.c
SVM_SRCS     := hv/svm/caps.c hv/svm/entry.asm hv/svm/insn.c hv/svm/memtype.c hv/svm/nmi.c hv/svm/run.c \
                hv/svm/setup.c hv/svm/state.c
HOST_SRCS    := drivers/host/acpi.c drivers/host/apic.c drivers/host/hostpci.c drivers/host/hostpci_config.c \
                drivers/host/screen.c drivers/host/screen_font.c drivers/host/uart.c
# A device is a file here and nothing else: it is found by its name in the image's list of models.
VIRTUAL_SRCS := $(sort $(wildcard drivers/virtual/*.c))
BOOT_SRCS    := boot/bootmap.c boot/config.c boot/console.c boot/entry.c boot/hostdev.c boot/main.c boot/memmap.c \
                boot/memory.c boot/uefi.c

IMAGE_SRCS := $(BASE_SRCS) $(X86_SRCS) $(EPT_SRCS) $(MEM_SRCS) $(MMIO_SRCS) $(VM_SRCS) \
              $(PCI_SRCS) $(CONSOLE_SRCS) $(VMX_SRCS) $(SVM_SRCS) $(HOST_SRCS) $(VIRTUAL_SRCS) $(BOOT_SRCS)

# ---------------------------------------------------------------------------------------------- flags

WARN_COMMON := -Wall -Wextra -Werror -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
    -Wmissing-prototypes -Wundef -Wvla -Wcast-qual -Wcast-align -Wpointer-arith -Wwrite-strings \
    -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference
WARN := $(WARN_COMMON) -Wframe-larger-than=1024

# -fvisibility=hidden: nothing of the image is visible outside, so references need no GOT slot.
IMAGE_CFLAGS := -std=gnu11 -Os -g -I. $(WARN) -ffreestanding -fshort-wchar -mno-red-zone \
    -mgeneral-regs-only -fno-stack-protector -fno-strict-aliasing -fcf-protection=none -fpic \
    -fvisibility=hidden -fno-asynchronous-unwind-tables -ffile-prefix-map=$(CURDIR)=.
# gcc optimises over the borders of files, which is worth a sixth of every budget, and so it drives the link. clang's image
# is for its warnings and for boots that show no difference.
ifeq ($(CC_NAME),gcc)
LTO_CFLAGS := -flto
LTO_LINK   := -flto -flto-partition=one -Wno-null-dereference
endif
# Only boot/ may see <efi.h>; the flag is given to that room alone.
EFI_CFLAGS := -isystem $(EFI_INCLUDE) -isystem $(EFI_INCLUDE)/x86_64 -DGNU_EFI_USE_MS_ABI
# The compiler must not turn the loops of memcpy and memset into calls of themselves.
ifeq ($(CC_NAME),gcc)
STRING_CFLAGS := -fno-builtin -fno-tree-loop-distribute-patterns -fno-lto
OFFSETS_CFLAGS :=
else
STRING_CFLAGS := -fno-builtin
OFFSETS_CFLAGS := -no-integrated-as
endif
comma := ,
IMAGE_LDFLAGS := $(addprefix -Wl$(comma),-T,linker.ld -Bsymbolic --build-id=sha1 --no-undefined -z,noexecstack \
    -z,norelro --orphan-handling=error --fatal-warnings)

# The guest kernel of the tests: build/guest.elf.
-include tests/guest/guest.mk
GUEST_ELF := $(if $(wildcard tests/guest/guest.mk),build/guest.elf)

# ---------------------------------------------------------------------------------------------- image

OUT  := build/$(CC_NAME)
IMAGE_OBJS := $(patsubst %,$(OUT)/%.o,$(basename $(filter %.c,$(IMAGE_SRCS)))) \
              $(patsubst %,$(OUT)/%.asm.o,$(basename $(filter %.asm,$(IMAGE_SRCS))))
ifeq ($(CC_NAME),gcc)
IMAGE := build/barvisor
else
IMAGE := $(OUT)/barvisor
endif

.PHONY: image efi disk
image: disk
efi: $(IMAGE).efi
	@:
disk: build/barvisor.img
	@:

# Packages are looked at before anything is built; see tests/tools/deps.sh.
PACKAGES ?= build
.PHONY: packages
packages:
	$(Q)bash tests/tools/deps.sh $(PACKAGES)

$(OUT)/%.o: %.c Makefile | packages
	$(Q)mkdir -p $(@D)
	$(say) $(CC_NAME) $<
	$(Q)$(CC) $(IMAGE_CFLAGS) $(OPTIMISE) $(LTO_CFLAGS) $(FILE_CFLAGS) -MMD -MP -c $< -o $@

# For speed what guests and callers wait for, as the benchmarks count it; the rest for few bytes.
FAST := $(EPT_SRCS) $(MMIO_SRCS) $(filter-out hv/mem/section_bytes.c hv/mem/space.c,$(MEM_SRCS)) hv/base/string.c \
        hv/base/tree.c hv/pci/bar.c hv/pci/bus.c hv/pci/config.c hv/pci/device.c hv/pci/doorbell.c hv/pci/edges.c \
        hv/pci/guest_memory.c hv/pci/leaves.c hv/pci/msi.c hv/pci/range.c hv/pci/range_create.c hv/pci/records.c \
        hv/svm/run.c hv/vm/access.c hv/vm/apic.c hv/vm/apic_send.c hv/vm/apic_timer.c hv/vm/cpuid.c hv/vm/deliver.c \
        hv/vm/exit.c hv/vm/mmio.c hv/vm/pause.c hv/vm/port.c hv/vm/trail.c hv/vm/vm.c hv/vm/walk.c hv/vmx/run.c \
        drivers/virtual/lab.c drivers/virtual/lab_bench.c
$(patsubst %.c,$(OUT)/%.o,$(FAST)): OPTIMISE := -O2
$(OUT)/boot/%.o: FILE_CFLAGS := $(EFI_CFLAGS)
$(OUT)/hv/base/string.o: FILE_CFLAGS := $(STRING_CFLAGS)

$(OUT)/%.asm.o: %.asm Makefile | packages
	$(Q)mkdir -p $(@D)
	$(say) nasm $<
	$(Q)$(NASM) -f elf64 -g -F dwarf -I ./ -I $(OUT)/ -MD $(@:.o=.d) -MP -MT $@ -o $@ $<

# Offsets of C structures for assembly: hv/vm/offsets.c is compiled to text, whose marked lines
# ("->NAME value") become %define lines. clang's own assembler would stumble over the marks.
ifneq ($(wildcard hv/vm/offsets.c),)
$(filter %.asm.o,$(IMAGE_OBJS)): $(OUT)/offsets.inc
$(OUT)/offsets.inc: hv/vm/offsets.c Makefile | packages
	$(Q)mkdir -p $(@D)
	$(say) offsets $<
	$(Q)$(CC) $(filter-out -g,$(IMAGE_CFLAGS)) $(OFFSETS_CFLAGS) -MMD -MP -MT $@ -MF $(@:.inc=.d) -S $< -o $(@:.inc=.s)
	$(Q)sed -n 's/^.*->\([A-Za-z_0-9]*\) *\$$*\([-0-9xa-f]*\).*$$/%define \1 \2/p' $(@:.inc=.s) > $@
	$(Q)test -s $@
endif

$(IMAGE).elf: $(IMAGE_OBJS) linker.ld Makefile
	$(say) link $@
	$(Q)$(CC) $(IMAGE_CFLAGS) $(LTO_LINK) -shared -nostdlib $(IMAGE_LDFLAGS) $(EFI_LIB)/crt0-efi-x86_64.o \
	    $(IMAGE_OBJS) $(EFI_LIB)/libgnuefi.a -o $@

# Only what runs goes into the PE file; symbols, the linker's dynamic symbol tables and the debug data stay behind.
$(IMAGE).efi: $(IMAGE).elf
	$(say) objcopy $@
	$(Q)$(OBJCOPY) --strip-all -j .text -j .rodata -j .relro -j .dynamic -j .rela -j .reloc -j .data -j .bss \
	    --target efi-app-x86_64 --file-alignment 512 --section-alignment 4096 $< $@

build/barvisor.img: $(IMAGE).efi $(CFG) $(GUEST_ELF) tests/tools/mkimage.sh
	$(say) disk $@
	$(Q)bash tests/tools/mkimage.sh -e $(IMAGE).efi $@ $(CFG) $(GUEST_ELF)

# ---------------------------------------------------------------------------------------------- host tests
# tests/unit/units.mk says which sources each program holds. Objects are shared between programs.

include tests/unit/units.mk

HOST_DIR    ?= build/host
HOST_EXTRA  ?=
HOST_CFLAGS := -std=gnu11 -g -O1 -I. $(WARN_COMMON) -fsanitize=address,undefined -fno-sanitize-recover=all \
    -fno-omit-frame-pointer -fshort-wchar -DHV_DIRECT_BASE=0x200000000000ull $(HOST_EXTRA)
HOST_LDFLAGS := -Wl$(comma)-T,tests/fake/models.ld
UNIT_PROGRAMS := $(UNITS:%=$(HOST_DIR)/tests/unit/%)
UNIT_SRCS = $(sort tests/fake/host.c $(foreach unit,$(UNITS),tests/unit/$(unit).c $($(unit)_SRCS)))

.PHONY: unit-programs units
unit-programs: $(UNIT_PROGRAMS)
units: unit-programs
	$(Q)$(PYTHON) tests/tools/units.py $(UNIT_PROGRAMS)

$(HOST_DIR)/%.o: %.c Makefile | packages
	$(Q)mkdir -p $(@D)
	$(say) host $<
	$(Q)$(HOSTCC) $(HOST_CFLAGS) -MMD -MP -c $< -o $@

define unit_rule
$(HOST_DIR)/tests/unit/$(1): $(patsubst %.c,$(HOST_DIR)/%.o,$(sort tests/unit/$(1).c tests/fake/host.c $($(1)_SRCS)))
	$$(say) link $$@
	$$(Q)$$(HOSTCC) $$(HOST_CFLAGS) $$^ $$(HOST_LDFLAGS) -lcmocka $$($(1)_LIBS) -o $$@
endef
$(foreach unit,$(UNITS),$(eval $(call unit_rule,$(unit))))

include tests/fuzz/fuzz.mk

# ---------------------------------------------------------------------------------------------- running

.PHONY: run targets debug gdb guest
guest: $(GUEST_ELF)
	@:
$(GUEST_OBJS): | packages

# run.py calls make again for the parts, to say how long each of them takes. DEMO=display: something to look at.
run:
	$(Q)since=$$(date +%s%N); bash tests/tools/deps.sh run && \
	    $(PYTHON) tests/emu/run.py --since $$since --target "$(TARGET)" --demo "$(DEMO)"

targets:
	$(Q)$(PYTHON) tests/emu/run.py --targets

debug:
	$(Q)bash tests/tools/deps.sh run && $(MAKE) --no-print-directory PACKAGES=none disk && \
	    $(PYTHON) tests/emu/debug.py

# GDB: more words for gdb, such as GDB='-ex "hbreak vm_exit" -ex continue'.
gdb:
	$(Q)bash tests/tools/deps.sh test && $(MAKE) --no-print-directory PACKAGES=none disk && \
	    $(PYTHON) tests/emu/debug.py --gdb $(GDB)

# The display demonstration as PNG files under build/, and docs/display.png.
.PHONY: screenshot
screenshot:
	$(Q)bash tests/tools/deps.sh run && $(MAKE) --no-print-directory PACKAGES=none efi guest && \
	    $(PYTHON) tests/emu/screenshot.py

# ---------------------------------------------------------------------------------------------- checking

export IMAGE_CFLAGS EFI_CFLAGS IMAGE_SRCS UNIT_SRCS HOST_CFLAGS FUZZERS

.PHONY: test lint bench mutants coverage
test:
	$(Q)bash tests/tools/deps.sh test && $(PYTHON) tests/tools/check.py all

lint:
	$(Q)bash tests/tools/deps.sh test && $(PYTHON) tests/tools/check.py lint

bench:
	$(Q)bash tests/tools/deps.sh run && $(MAKE) --no-print-directory PACKAGES=none efi guest && \
	    $(PYTHON) tests/bench/bench.py

mutants:
	$(Q)bash tests/tools/deps.sh test && $(PYTHON) tests/tools/mutants.py $(MUTANTS)

# Without sanitizers and optimisation: a branch is one that somebody wrote.
COVERAGE_CFLAGS := --coverage -fprofile-update=atomic -O0 -fno-sanitize=all
coverage:
	$(Q)bash tests/tools/deps.sh test && rm -rf build/coverage && \
	    $(MAKE) --no-print-directory PACKAGES=none HOST_DIR=build/coverage HOST_EXTRA="$(COVERAGE_CFLAGS)" units && \
	    $(PYTHON) tests/tools/coverage.py

# What takes longer than a test may: millions of operations against the model, millions of instructions against the
# host's CPU and Unicorn, and each fuzzer for ten minutes.
NIGHTLY_OPS     ?= 1000000
NIGHTLY_CASES   ?= 5000000
NIGHTLY_SECONDS ?= 600
.PHONY: nightly
nightly:
	$(Q)bash tests/tools/deps.sh test && $(MAKE) --no-print-directory PACKAGES=none unit-programs && \
	    MODEL_TALK=1 MODEL_SEED=$${MODEL_SEED:-$$(date +%s)} MODEL_OPS=$(NIGHTLY_OPS) $(HOST_DIR)/tests/unit/test_model && \
	    DIFF_SEED=$${DIFF_SEED:-$$(date +%s)} DIFF_NATIVE=$(NIGHTLY_CASES) $(HOST_DIR)/tests/unit/test_native && \
	    DIFF_SEED=$${DIFF_SEED:-$$(date +%s)} DIFF_UNICORN=$(NIGHTLY_CASES) $(HOST_DIR)/tests/unit/test_unicorn && \
	    for fuzzer in $(FUZZERS); do \
	        $(MAKE) --no-print-directory fuzz FUZZ=$$fuzzer SECONDS=$(NIGHTLY_SECONDS) || exit 1; done

# ---------------------------------------------------------------------------------------------- the rest

.PHONY: clean help
clean:
	$(Q)rm -rf build

help:
	@echo 'make image     build/barvisor.efi and the bootable disk build/barvisor.img (CC=gcc|clang, CFG=file)'
	@echo 'make run       build, boot and judge the guest test; TARGET=name (see targets) or the best with EPT'
	@echo '                DEMO=display shows what a guest draws, in a window where there is a display'
	@echo 'make targets   where the image can run on this machine, and why not'
	@echo 'make test      everything that must hold: lint, units, both compilers, boots'
	@echo 'make lint      format, static analysis, who may include whom, every header alone'
	@echo 'make units     host tests under ASan and UBSan'
	@echo 'make bench     instructions per operation on both backends, exact; fails when a budget is exceeded'
	@echo 'make screenshot build/screenshot.png: what a guest draws, on the machine'\''s screen'
	@echo 'make debug     Bochs debugger with symbols, stopped at efi_main'
	@echo 'make gdb       gdb with symbols on qemu-npt, stopped at efi_main (GDB=more words for gdb)'
	@echo 'make mutants   break the code on purpose, one patch at a time: each must turn a test red'
	@echo 'make coverage  branches that the host tests take, file by file, and build/coverage/index.html'
	@echo 'make fuzz      search with libFuzzer: FUZZ=api SECONDS=60'
	@echo 'make nightly   millions of operations and instructions, then every fuzzer: NIGHTLY_OPS=, _CASES=, _SECONDS='
	@echo 'make clean     remove build/'
	@echo 'V=1 shows the commands'

-include $(patsubst %.o,%.d,$(IMAGE_OBJS)) $(OUT)/offsets.d
-include $(patsubst %.c,$(HOST_DIR)/%.d,$(UNIT_SRCS))
