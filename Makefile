# `make test` is the one command that checks everything; `.ci/run` calls exactly it.

.PHONY: test deps lint pictures properties mutation

test: deps
	go vet ./...
	@properties=$$(grep -rlE --include='*_test.go' '^[[:space:]]+"pgregory.net/rapid"$$' . | xargs -n1 dirname | sort -u); \
	others=$$(go list -f '.{{slice .Dir (len .Module.Dir)}}' ./... | grep -vxF "$$properties"); \
	status=0; \
	go test -timeout 20m $$others || status=1; \
	go test -timeout 20m $$properties -rapid.seed=$(SEED) || status=1; \
	exit $$status

# Property tests draw the same cases each time, so that a run says the same of the same code. SEED=0 draws new ones, as plain
# `go test` does.
SEED ?= 42

# What tests need and a fresh Debian machine lacks: PostgreSQL, a browser, and Node.js with two FHIR client libraries.
# Nothing is skipped silently: without one of them the tests that use it fail.
deps: conformance/npm/node_modules/.package-lock.json
	@PACKAGES=""; \
	if ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then PACKAGES="$$PACKAGES postgresql"; fi; \
	if ! command -v chromium >/dev/null; then PACKAGES="$$PACKAGES chromium fonts-liberation"; fi; \
	$(call apt,$$PACKAGES)

# npm runs no scripts of packages (.npmrc beside the lock file).
conformance/npm/node_modules/.package-lock.json: conformance/npm/package-lock.json
	@PACKAGES=""; \
	if ! command -v npm >/dev/null; then PACKAGES="nodejs npm"; fi; \
	$(call apt,$$PACKAGES)
	@echo "installing npm packages"
	@cd conformance/npm && npm ci --no-progress --loglevel=error >/dev/null
	@touch $@

# apt installs Debian packages, if any are named.
apt = if [ -n "$(1)" ]; then \
	  echo "installing$(1)"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
	fi

# What people see, at phone and desktop width, as the browser tests meet it.
pictures: deps
	mkdir -p pictures
	go test ./cmd/trellis -run TestBrowser -count=1 -artifacts -outputdir $(CURDIR)/pictures

# More generated graphs for the five properties of cmd/trellis/property_test.go than the normal run has: CASES=1000.
CASES ?= 300
properties: deps
	go test ./cmd/trellis -run 'TestHiddenRecordsDoNotInterfere|TestHiddenRecordsAreNotNamed|TestDenialsOnlyTakeAway|TestRevokedIsNeverGranted|TestPart2ContentIsAccompanied' -count=1 -timeout 12h -trellis.cases $(CASES)

# Takes each enforcement point away in turn, from outside the product (conformance/mutation/mutations.json), and demands that a
# test fails; with all of them in place it must pass. ONLY='chain|has' takes away some.
# BY='TestHiddenRecords.*' counts which points these tests of cmd/trellis notice instead.
ONLY ?= .*
BY ?=
mutation: deps
	go test ./conformance/mutation -run 'TestMutations$$' -count=1 -v -timeout 6h -trellis.mutate '$(ONLY)' -trellis.by '$(BY)'

lint:
	gofmt -l . && go vet ./...
