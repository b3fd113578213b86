# The two commands of the README. Everything else is CMake (see CONTRIBUTING.md).
#   make test   installs what is missing, builds, runs every test
#   make demo   installs what is missing, builds, fine-tunes BERT on two processes
PRESET ?= dev
JOBS ?= $(shell nproc)

.PHONY: all test demo bootstrap build clean

all: build

bootstrap:
	@tools/bootstrap.sh

build: bootstrap
	@cmake --preset $(PRESET) >build-configure.log 2>&1 || { cat build-configure.log; rm -f build-configure.log; exit 1; }
	@rm -f build-configure.log
	@cmake --build --preset $(PRESET) -j $(JOBS)

test: build
	@ctest --preset $(PRESET) -j $(JOBS)

demo: build
	@tools/demo.sh build/$(PRESET)

clean:
	@rm -rf build
