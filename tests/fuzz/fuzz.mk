# Fuzzers: programs of clang's libFuzzer, with the address and undefined-behaviour sanitizers.
#
#   make fuzz FUZZ=api SECONDS=600      search; what is new goes to build/fuzz/corpus/NAME, failures to build/fuzz/
#   make fuzz-minimise FUZZ=api         tests/fuzz/corpus/NAME again, out of both: no more files than branches need
#
# FUZZERS, and for each name fuzz_NAME_SRCS: its sources besides tests/fuzz/fuzz_NAME.c and tests/fake/host.c; and
# fuzz_NAME_LIBS, if it links more.
FUZZERS := api insn
fuzz_api_SRCS := $(DUEL_SRCS)
fuzz_insn_SRCS := hv/mmio/insn.c hv/mmio/opcodes.c
fuzz_insn_LIBS := -lZydis

FUZZ      ?= api
SECONDS   ?= 60
FUZZ_DIR  := build/fuzz
FUZZ_CC   ?= clang
FUZZ_CFLAGS := $(subst -fsanitize=address$(comma)undefined,-fsanitize=fuzzer-no-link$(comma)address$(comma)undefined,$(HOST_CFLAGS))
# The fuzzer follows the code under test, not the model.
$(FUZZ_DIR)/tests/%.o: private FUZZ_CFLAGS := $(HOST_CFLAGS)
FUZZ_SRCS = $(sort tests/fake/host.c $(foreach f,$(FUZZERS),tests/fuzz/fuzz_$(f).c $(fuzz_$(f)_SRCS)))
FUZZ_MAX_LEN ?= 1040

.PHONY: fuzz fuzz-programs fuzz-minimise
fuzz-programs: $(FUZZERS:%=$(FUZZ_DIR)/fuzz_%)

$(FUZZ_DIR)/%.o: %.c Makefile | packages
	$(Q)mkdir -p $(@D)
	$(say) fuzz $<
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -MMD -MP -c $< -o $@

define fuzz_rule
$(FUZZ_DIR)/fuzz_$(1): $(patsubst %.c,$(FUZZ_DIR)/%.o,$(sort tests/fuzz/fuzz_$(1).c tests/fake/host.c $(fuzz_$(1)_SRCS)))
	$$(say) link $$@
	$$(Q)$$(FUZZ_CC) -fsanitize=fuzzer,address,undefined $$^ $$(HOST_LDFLAGS) -lcmocka $$(fuzz_$(1)_LIBS) -o $$@
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzz_rule,$(f))))

fuzz:
	$(Q)bash tests/tools/deps.sh test && $(MAKE) --no-print-directory PACKAGES=none fuzz-programs && \
	    mkdir -p $(FUZZ_DIR)/corpus/$(FUZZ) && \
	    $(FUZZ_DIR)/fuzz_$(FUZZ) -max_total_time=$(SECONDS) -max_len=$(FUZZ_MAX_LEN) -len_control=0 -artifact_prefix=$(FUZZ_DIR)/ \
	    -print_final_stats=1 $(FUZZ_DIR)/corpus/$(FUZZ) tests/fuzz/corpus/$(FUZZ)

fuzz-minimise:
	$(Q)$(MAKE) --no-print-directory PACKAGES=none fuzz-programs && rm -rf $(FUZZ_DIR)/least && \
	    mkdir -p $(FUZZ_DIR)/least $(FUZZ_DIR)/corpus/$(FUZZ) && \
	    $(FUZZ_DIR)/fuzz_$(FUZZ) -merge=1 -use_counters=0 -use_cmp=0 -max_len=$(FUZZ_MAX_LEN) $(FUZZ_DIR)/least tests/fuzz/corpus/$(FUZZ) \
	    $(FUZZ_DIR)/corpus/$(FUZZ) && rm -f tests/fuzz/corpus/$(FUZZ)/* && cp $(FUZZ_DIR)/least/* tests/fuzz/corpus/$(FUZZ)/

-include $(patsubst %.c,$(FUZZ_DIR)/%.d,$(FUZZ_SRCS))
