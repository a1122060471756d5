# Porchlight's tasks. `make help` lists them; each line of help is the comment after "##" beside its target.
#
# A fresh Debian 12 machine with Go is enough: a target installs the Debian packages it needs (.ci/packages) if they are
# missing, as root or through sudo, and never asks twice.

DATA    ?= data
LISTEN  ?= :8008
ARGS    ?=
FUZZTIME ?= 30s
BENCH   ?= .
DAMAGE  ?= -crash-rounds=12 -crash-points=40 -damages=40

SERVER  = bin/porchlight
GOTEST  = go test -race -timeout 15m

.DEFAULT_GOAL := help
.PHONY: help run build test test-all test-damage devices e2e bench cross large check fuzz clean packages browser FORCE

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-11s %s\n", $$1, $$2 }'

run: build ## build and start the server: http://localhost:8008, all it keeps in ./data (DATA=, LISTEN=, ARGS= change that)
	$(SERVER) serve --data $(DATA) --listen $(LISTEN) $(ARGS)

build: packages $(SERVER) ## build bin/porchlight for this machine

# Go knows better than make what has changed.
$(SERVER): FORCE
	go build -trimpath -o $@ ./cmd/porchlight

test: packages ## every quick test, with the race detector (under 10 minutes on two quiet cores)
	$(GOTEST) ./...
	go test -run '^TestWhoSeesWhat$$' ./server/clientapi # whole: with the race detector it is a sample

test-all: test test-damage devices cross large e2e ## test, then the long ones: a virtual machine, cross-built binaries under qemu, browsers, other people's clients

devices: ## the board in a virtual machine with Debian's kernel: camera, sound cards, pins, a bad network (ARGS=-run=… chooses)
	.ci/packages build guest
	.ci/devices $(ARGS)

test-damage: packages ## kills, power cuts and damaged files, each followed by a start and a check: a sample (DAMAGE="-crash-rounds=300 -crash-points=1000 -damages=500" is the whole)
	.ci/packages damage
	go test -tags damage -count=1 -timeout 180m -v -run '^Test(Kills|PowerCuts|Damages)$$' ./server -args $(DAMAGE)

e2e: packages browser ## matrix-js-sdk and our own page in Chromium, matrix-nio, a bot and a bridge of matrix-bot-sdk, kill -9: against the real binary
	go test -tags e2e -count=1 -timeout 30m ./server/e2e

# The house as a whole comes last, so that its table ends the output.
bench: packages browser ## the benchmarks, last the table of what the house reaches (BENCH=regexp chooses)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 30m $$(go list ./... | grep -v /server/bench)
	go test -tags e2e -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout 30m ./server/e2e
	go test -run '^$$' -bench '$(BENCH)' -timeout 30m ./server/bench

cross: ## static binaries for linux/arm64, armv7, armv6 and amd64 in bin/, each started once under qemu
	.ci/packages cross
	.ci/cross

large: ## the media store as a 32-bit process under qemu, with files of more than 3 GiB
	.ci/packages cross
	.ci/large

check: packages ## gofmt, vet, staticcheck and the tests of the house's own rules (under two minutes)
	.ci/check

fuzz: packages ## every fuzz target in turn, for FUZZTIME (30s) each
	.ci/fuzz $(FUZZTIME)

clean: ## remove what was built; ./data stays
	rm -rf bin server/e2e/node_modules

packages:
	@.ci/packages build

# npm ci installs exactly what the lock file says, and npm's own stamp tells whether that has been done already. Packages'
# own scripts do not run: one of them would download a library that the tests do without.
browser:
	@.ci/packages browser
	@cd server/e2e && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; }
