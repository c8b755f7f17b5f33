# One line per unit-test program: its name and the sources under test (besides tests/unit/NAME.c itself).
# Every program also gets tests/fake/host.c (assert_fail, log_sink) and links cmocka.
UNITS :=
comma := ,

UNITS += test_loader
test_loader_SRCS := hv/vm/loader.c tests/unit/pvh_file.c tests/unit/pvh_check.c
UNITS += test_config
test_config_SRCS := boot/config.c
UNITS += test_memmap
test_memmap_SRCS := boot/memmap.c

UNITS += test_frames
test_frames_SRCS := hv/mem/frames.c tests/fake/phys.c

UNITS += test_slab
test_slab_SRCS := hv/mem/slab.c hv/mem/frames.c tests/fake/phys.c

UNITS += test_ledger
test_ledger_SRCS := hv/mem/ledger.c hv/base/tree.c

UNITS += test_memtype
test_memtype_SRCS := ept/memtype.c

UNITS += test_mtrr
test_mtrr_SRCS := hv/x86/mtrr.c

UNITS += test_ptformat
test_ptformat_SRCS := ept/format.c ept/memtype.c

UNITS += test_pool
test_pool_SRCS := ept/pool.c tests/fake/blocks.c

# ept: the whole walk, each store watched.
EPT_KIT_SRCS := $(EPT_SRCS) hv/base/log.c tests/fake/blocks.c tests/fake/ptwatch.c tests/unit/pt_kit.c
UNITS += test_ept
test_ept_SRCS := $(EPT_KIT_SRCS)
UNITS += test_ptjoin
test_ptjoin_SRCS := $(EPT_KIT_SRCS)
UNITS += test_ptstep
test_ptstep_SRCS := $(EPT_KIT_SRCS)
UNITS += test_ptrandom
test_ptrandom_SRCS := $(EPT_KIT_SRCS)

# The plain pt_store, and threads.
UNITS += test_ptthreads
test_ptthreads_SRCS := $(EPT_SRCS) hv/base/log.c tests/fake/blocks.c tests/fake/ptstore.c
test_ptthreads_LIBS := -lpthread

UNITS += test_tree
test_tree_SRCS := hv/base/tree.c

UNITS += test_format
test_format_SRCS := hv/base/log.c

# hv/base/string.c is included, under other names.
UNITS += test_string
test_string_SRCS :=

UNITS += test_insn test_insn_other
test_insn_SRCS := hv/mmio/insn.c hv/mmio/opcodes.c tests/unit/insn_kit.c
test_insn_other_SRCS := $(test_insn_SRCS)

UNITS += test_alu
test_alu_SRCS := hv/mmio/alu.c
UNITS += test_emulate test_emurules test_emustrings
test_emulate_SRCS := hv/mmio/alu.c hv/mmio/emulate.c hv/mmio/insn.c hv/mmio/opcodes.c hv/mmio/strings.c \
    tests/unit/emu_kit.c
test_emurules_SRCS := $(test_emulate_SRCS)
test_emustrings_SRCS := $(test_emulate_SRCS)

# The decoder and emulator against a CPU and against Unicorn, on random instructions.
DIFF_SRCS := hv/mmio/alu.c hv/mmio/emulate.c hv/mmio/insn.c hv/mmio/opcodes.c hv/mmio/strings.c \
    tests/unit/diff_check.c tests/unit/diff_emu.c tests/unit/diff_encode.c tests/unit/diff_forms.c \
    tests/unit/diff_gen.c tests/unit/diff_tally.c
UNITS += test_native test_unicorn
test_native_SRCS := $(DIFF_SRCS) tests/unit/native_cpu.c
test_unicorn_SRCS := $(DIFF_SRCS) tests/unit/unicorn_cpu.c
test_unicorn_LIBS := -lunicorn

UNITS += test_region
test_region_SRCS := hv/mmio/region.c

# Everything that a section is made of.
SECTION_SRCS := hv/mem/backing.c hv/mem/commit.c hv/mem/event.c hv/mem/extents.c hv/mem/frames.c hv/mem/handle.c hv/mem/ledger.c \
    hv/mem/mapping.c hv/mem/section.c hv/mem/section_bytes.c hv/base/tree.c hv/base/status.c

UNITS += test_section test_handle test_section_bytes test_commit test_commitmap test_hugesection
test_section_SRCS := $(SECTION_SRCS) hv/mem/slab.c tests/unit/section_kit.c tests/fake/phys.c tests/fake/window.c
test_handle_SRCS := $(test_section_SRCS)
test_section_bytes_SRCS := $(test_section_SRCS)
test_commit_SRCS := $(patsubst hv/mem/slab.c,tests/fake/slab.c,$(test_section_SRCS)) tests/unit/commit_kit.c
test_commitmap_SRCS := $(test_commit_SRCS)
test_hugesection_SRCS := $(SECTION_SRCS) tests/fake/phys.c tests/fake/slab.c tests/fake/window.c

UNITS += test_event
test_event_SRCS := $(test_hugesection_SRCS) tests/unit/section_kit.c
test_event_LIBS := -lpthread

UNITS += test_view_area
test_view_area_SRCS := hv/mem/view_area.c hv/base/tree.c

# Views over real sections and tables, on fake frames, slabs and table blocks.
VIEW_KIT_SRCS := tests/unit/view_kit.c tests/unit/section_kit.c tests/fake/blocks.c tests/fake/phys.c \
    tests/fake/ptstore.c tests/fake/slab.c tests/fake/space.c tests/fake/window.c $(EPT_SRCS) $(SECTION_SRCS) \
    hv/base/log.c hv/mem/io_space.c hv/mem/space_view.c hv/mem/view.c hv/mem/view_area.c hv/mem/view_record.c \
    hv/x86/mtrr.c
UNITS += test_view test_view_place test_view_commit test_io_space
test_view_SRCS := $(VIEW_KIT_SRCS)
test_view_place_SRCS := $(VIEW_KIT_SRCS)
test_view_commit_SRCS := $(VIEW_KIT_SRCS)
test_io_space_SRCS := $(VIEW_KIT_SRCS)

# hv/pci: everything below it is the real thing, on fake memory, slabs and table blocks.
PCI_WORLD_SRCS := tests/unit/pci_world.c tests/fake/alarm.c tests/fake/apic.c tests/fake/scanout.c tests/fake/blocks.c tests/fake/phys.c tests/fake/ptstore.c \
    tests/fake/slab.c tests/fake/view_calls.c tests/fake/view_ram.c tests/fake/vm.c tests/fake/window.c $(EPT_SRCS) \
    $(SECTION_SRCS) hv/base/log.c hv/mmio/region.c $(wildcard $(PCI_SRCS)) hv/vm/pause.c hv/vm/port.c
UNITS += test_range
test_range_SRCS := $(PCI_WORLD_SRCS)
UNITS += test_replace test_joins
test_replace_SRCS := $(PCI_WORLD_SRCS) tests/unit/replace_kit.c
test_joins_SRCS := $(test_replace_SRCS)
UNITS += test_doorbell test_bells test_bellranges
test_doorbell_SRCS := $(PCI_WORLD_SRCS) tests/unit/bell_kit.c
test_bells_SRCS := $(test_doorbell_SRCS)
test_bellranges_SRCS := $(test_doorbell_SRCS)
test_bells_LIBS := -lpthread
UNITS += test_known_bell
test_known_bell_SRCS := $(test_doorbell_SRCS)
UNITS += test_guest_memory
test_guest_memory_SRCS := $(PCI_WORLD_SRCS) tests/unit/ram_kit.c
UNITS += test_aperture
test_aperture_SRCS := $(PCI_WORLD_SRCS) tests/unit/ram_kit.c
UNITS += test_bus test_device test_resize
test_bus_SRCS := $(PCI_WORLD_SRCS)
test_device_SRCS := $(PCI_WORLD_SRCS)
test_resize_SRCS := $(PCI_WORLD_SRCS)
UNITS += test_functions test_iobar test_place test_models test_known_bar
test_functions_SRCS := $(PCI_WORLD_SRCS)
test_functions_LIBS := -lpthread
test_iobar_SRCS := $(PCI_WORLD_SRCS)
test_place_SRCS := $(PCI_WORLD_SRCS)
test_models_SRCS := $(PCI_WORLD_SRCS)
test_known_bar_SRCS := $(test_doorbell_SRCS)
UNITS += test_capability test_known_msix test_msi test_msix test_power
test_capability_SRCS := $(PCI_WORLD_SRCS) tests/unit/cap_kit.c
test_known_msix_SRCS := $(PCI_WORLD_SRCS) tests/unit/cap_kit.c
test_msi_SRCS := $(PCI_WORLD_SRCS) tests/unit/cap_kit.c
test_msix_SRCS := $(PCI_WORLD_SRCS) tests/unit/cap_kit.c
test_power_SRCS := $(PCI_WORLD_SRCS) tests/unit/cap_kit.c
UNITS += test_lab test_labcalls test_labmapping
test_lab_SRCS := $(PCI_WORLD_SRCS) $(VIRTUAL_SRCS) tests/unit/lab_kit.c
test_labcalls_SRCS := $(test_lab_SRCS)
test_labmapping_SRCS := $(test_lab_SRCS)


# The same with views and I/O space as they are. Whoever uses it brings a pt_store of its own.
PCI_VIEWS_SRCS := $(filter-out tests/fake/ptstore.c tests/fake/view_%.c,$(PCI_WORLD_SRCS)) tests/fake/space.c \
    hv/mem/io_space.c hv/mem/space_view.c hv/mem/view.c hv/mem/view_area.c hv/mem/view_record.c hv/x86/mtrr.c \
    tests/unit/pci_views.c
UNITS += test_known_mapping test_known_type
test_known_mapping_SRCS := $(PCI_VIEWS_SRCS)
test_known_type_SRCS := $(PCI_VIEWS_SRCS) tests/fake/ptstore.c

# The same calls to the real code and to a flat model; every store is watched.
DUEL_SRCS := $(PCI_VIEWS_SRCS) tests/fake/ptwatch.c tests/unit/duel.c tests/unit/duel_check.c tests/unit/duel_ops.c \
    tests/unit/duel_script.c tests/unit/duel_steps.c tests/unit/duel_views.c tests/unit/range_model.c
UNITS += test_model
test_model_SRCS := $(DUEL_SRCS)
UNITS += test_inject
test_inject_SRCS := $(DUEL_SRCS) tests/unit/fault_kit.c
FAULT_WRAPPED := slab_alloc slab_take frames_alloc frames_alloc_extent pt_block_alloc pt_pool_grow space_direct_remove
test_inject_LIBS := $(FAULT_WRAPPED:%=-Wl$(comma)--wrap=%)

# hv/vm: the core under a fake backend, on fake memory.
VM_KIT_SRCS := tests/unit/vm_kit.c tests/fake/backend.c tests/fake/blocks.c tests/fake/phys.c \
    tests/fake/ptstore.c tests/fake/vector.c tests/fake/window.c $(EPT_SRCS) $(MMIO_SRCS) hv/base/log.c \
    hv/base/status.c hv/vm/access.c hv/vm/cpuid.c hv/vm/exit.c hv/vm/io.c hv/vm/memtype.c hv/vm/mmio.c hv/vm/msr.c \
    hv/vm/pause.c hv/vm/platform.c hv/vm/port.c hv/vm/trail.c hv/vm/vm.c hv/vm/walk.c hv/vm/apic.c hv/vm/apic_msr.c hv/vm/deliver.c \
    hv/vm/apic_send.c hv/vm/apic_timer.c tests/fake/alarm.c
UNITS += test_walk
test_walk_SRCS := $(VM_KIT_SRCS)
UNITS += test_paging
test_paging_SRCS := $(VM_KIT_SRCS) tests/unit/paging_kit.c
UNITS += test_pagerights
test_pagerights_SRCS := $(VM_KIT_SRCS) tests/unit/paging_kit.c
UNITS += test_pagerandom
test_pagerandom_SRCS := $(VM_KIT_SRCS) tests/unit/paging_kit.c
UNITS += test_mmio
test_mmio_SRCS := $(VM_KIT_SRCS)
UNITS += test_mmiopages
test_mmiopages_SRCS := $(VM_KIT_SRCS)
UNITS += test_stale
test_stale_SRCS := $(VM_KIT_SRCS) tests/unit/stale_kit.c
UNITS += test_access test_accessto test_known_access test_known_insn
test_access_SRCS := $(VM_KIT_SRCS) tests/unit/mode_kit.c
test_accessto_SRCS := $(test_access_SRCS)
test_known_access_SRCS := $(test_access_SRCS)
test_known_insn_SRCS := $(test_access_SRCS)
UNITS += test_vmpolicy
test_vmpolicy_SRCS := $(VM_KIT_SRCS)
UNITS += test_pause
test_pause_SRCS := $(VM_KIT_SRCS)
UNITS += test_vmexits
test_vmexits_SRCS := $(VM_KIT_SRCS)
# hv/vm/cpuid.c is included, with another CPUID instruction.
UNITS += test_vmcpuid
test_vmcpuid_SRCS := $(filter-out hv/vm/cpuid.c,$(VM_KIT_SRCS))

# The local APIC, by its page, its MSRs and messages.
UNITS += test_apic test_apicipi test_apicmsr test_apictimer
test_apic_SRCS := $(VM_KIT_SRCS) tests/unit/apic_kit.c
test_apicipi_SRCS := $(test_apic_SRCS)
test_apicmsr_SRCS := $(test_apic_SRCS)
test_apictimer_SRCS := $(test_apic_SRCS)
# The guest's ACPI tables; the second with the parser of the machine's.
UNITS += test_aml
test_aml_SRCS := hv/vm/aml.c
UNITS += test_acpitables
test_acpitables_SRCS := hv/vm/acpi.c hv/vm/aml.c drivers/host/acpi.c hv/base/log.c hv/base/status.c tests/fake/iospace.c
UNITS += test_deliver
test_deliver_SRCS := $(test_apic_SRCS)
UNITS += test_alarm
test_alarm_SRCS := hv/vm/alarm.c

# drivers/host: on memory and configuration space that the test lays out.
UNITS += test_acpi
test_acpi_SRCS := drivers/host/acpi.c hv/base/log.c hv/base/status.c tests/fake/iospace.c
UNITS += test_screen
test_screen_SRCS := drivers/host/screen.c drivers/host/screen_font.c hv/base/log.c hv/base/status.c tests/fake/iospace.c
UNITS += test_hostpci
test_hostpci_SRCS := boot/hostdev.c drivers/host/acpi.c drivers/host/apic.c drivers/host/hostpci.c hv/base/log.c \
    hv/base/status.c tests/fake/hostpci.c tests/fake/iospace.c
UNITS += test_cuts
test_cuts_SRCS := $(test_replace_SRCS)

# Devices, each as a guest drives it.
DEVICE_KIT_SRCS := $(PCI_WORLD_SRCS) $(VIRTUAL_SRCS) tests/unit/device_kit.c
UNITS += test_edu test_ivshmem test_bochsdisplay test_template test_scanout
test_edu_SRCS := $(DEVICE_KIT_SRCS)
test_ivshmem_SRCS := $(DEVICE_KIT_SRCS)
test_bochsdisplay_SRCS := $(DEVICE_KIT_SRCS)
test_template_SRCS := $(DEVICE_KIT_SRCS)
test_scanout_SRCS := $(DEVICE_KIT_SRCS)
