# Build, install and check pg_aggjobs with PGXS.  `make help` lists the targets.
#
# Sources are found by wildcard, so that a new file needs no line here.  The
# version is read from pg_aggjobs.control and handed to C; nothing else may
# state it (META.json is compared with it by test/lint/check_meta).

PG_CONFIG ?= pg_config

EXTENSION  = pg_aggjobs
MODULE_big = pg_aggjobs
EXTVERSION := $(shell sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" pg_aggjobs.control)
PG_MAJOR   := $(shell $(PG_CONFIG) --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')

C_SOURCES = $(sort $(wildcard src/*.c src/*/*.c))
OBJS      = $(C_SOURCES:.c=.o)
DEPS      = $(C_SOURCES:.c=.d)

# The extension script is the numbered parts in name order.  Steps between
# released versions are written by hand and installed as they are.
SQL_PARTS  = $(sort $(wildcard sql/[0-9]*.sql))
DATA_built = pg_aggjobs--$(EXTVERSION).sql
DATA       = $(wildcard sql/pg_aggjobs--*--*.sql)

# -Wextra minus the three that the server's own headers and conventions cannot
# meet: fmgr functions have a fixed signature, Size is compared with int
# throughout, and node initialisers name only the first field.
WERROR ?= -Werror
PG_CFLAGS = -Wall -Wextra $(WERROR) \
	-Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
# pg_config hands gcc's own options, and pg_config.h its format attribute, to
# clang as well.
ifneq (,$(findstring clang,$(CC)))
PG_CFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument \
	-Wno-ignored-attributes
endif
PG_CPPFLAGS = -Isrc -DAGGJOBS_VERSION='"$(EXTVERSION)"' -MMD -MP

# A test build takes its clock from shared memory and has named wait points.
ifdef TESTING
PG_CPPFLAGS += -DAGGJOBS_TESTING
endif

# External libraries are linked only once something uses them.
ifneq (,$(wildcard src/notify/deliver.c))
SHLIB_LINK += -lcurl
endif
ifneq (,$(wildcard src/notify/payload.c))
SHLIB_LINK += -lcjson
endif

# Before PostgreSQL 16 the server's macros do not mark what a module exports,
# so -fvisibility=hidden would hide the SQL functions too: a linker map works
# on every version.
SHLIB_LINK += -Wl,--version-script=exports.map

# Bitcode doubles the build time and only helps expression inlining; ask for
# it with `make with_llvm=yes`.
ifneq ($(origin with_llvm),command line)
override with_llvm := no
endif

# Inputs are in test/, outputs in expected/.  Parts in sql/ begin with a digit,
# tests never do: pg_regress looks into sql/ first.  The tests' databases have
# the extension from the start.
# A test that needs other extensions is left out, and named, without them.
OTHERS_MISSING = $(strip $(foreach e,hll tdigest,\
	$(if $(wildcard $(shell $(PG_CONFIG) --sharedir)/extension/$(e).control),,$(e))))
LEFT_OUT     = $(if $(OTHERS_MISSING),rollup_sketches)
REGRESS      = $(filter-out $(LEFT_OUT),$(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --load-extension=$(EXTENSION)
ISOLATION      = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=$(EXTENSION)
ifeq (,$(filter 13 14 15,$(PG_MAJOR)))
ISOLATION_OPTS += --expecteddir=test/isolation
endif

EXTRA_CLEAN = $(DEPS) .build-flags pg_aggjobs--*.sql.tmp

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS has no dependency on compiler or options: without this, `make` followed
# by `make TESTING=1` would link objects of both kinds.
BUILD_FLAGS = $(CC) $(CPPFLAGS) $(CFLAGS) $(shell $(PG_CONFIG) --version)
.build-flags: FORCE
	@printf '%s\n' '$(subst ','\'',$(BUILD_FLAGS))' | cmp -s - $@ || \
	 printf '%s\n' '$(subst ','\'',$(BUILD_FLAGS))' > $@
$(OBJS): .build-flags
$(shlib): exports.map
-include $(DEPS)

pg_aggjobs--$(EXTVERSION).sql: $(SQL_PARTS) pg_aggjobs.control
	@test -n '$(SQL_PARTS)' || { echo 'no sql/[0-9]*.sql to join' >&2; exit 1; }
	cat $(SQL_PARTS) > $@.tmp && mv $@.tmp $@

installcheck: say-left-out
say-left-out:
	@$(if $(LEFT_OUT),echo 'left out: $(LEFT_OUT) (not installed: $(OTHERS_MISSING))',:)

lint:
	test/lint/lint
fences:
	test/lint/fences
format:
	test/lint/format --fix
check-format:
	test/lint/format

help:
	@echo 'make               build the library and the extension script'
	@echo 'make install       copy both into the server (PG_CONFIG chooses it; needs its rights)'
	@echo 'make installcheck  regress and isolation tests on the server that PGHOST, PGPORT ... name'
	@echo 'make lint          formatting, cppcheck, clang-tidy, shellcheck'
	@echo 'make fences        the rules on who may call and include what'
	@echo 'make format        rewrite the C sources in house style;  make check-format  only look'
	@echo 'make clean         remove what was built'
	@echo 'TESTING=1          test build: virtual clock, wait points    with_llvm=yes  also build bitcode'
	@echo 'CC=clang           another compiler                          WERROR=        warnings do not stop'
	@echo './dev help         a private server, the demo and all suites in one command'

FORCE:
.PHONY: FORCE say-left-out lint fences format check-format help
