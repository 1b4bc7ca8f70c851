# `make test` is the one command that checks everything; `.ci/run` calls exactly it.

.PHONY: test deps lint

test: deps
	go vet ./...
	go test -timeout 20m ./...

# What tests need and a fresh Debian machine lacks. Nothing is skipped silently: without PostgreSQL the
# tests of its engine fail.
deps:
	@if ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then \
	  echo "installing postgresql"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq postgresql >/dev/null; \
	fi

lint:
	gofmt -l . && go vet ./...
