# make            what can I do here?
# make demo       see it work
# make check      everything CI runs; green here means green there
.DEFAULT_GOAL := help
SHELL := /bin/bash
PREFIX ?= /usr/local

help:      ## list these targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:     ## install what is missing (apt; a Python venv in .build)
	scripts/setup.sh --python

build:     ## build the program
	scripts/setup.sh
	swift build --product tokenvault

demo: build  ## records tokenised, duplicates found, one value recovered, on a private PostgreSQL cluster
	scripts/demo.sh

demo-sqs: setup build  ## the same from a real SQS-compatible server
	scripts/demo.sh sqs

test: setup  ## all tests, on real servers that they start themselves
	swift build --build-tests
	scripts/run_tests.py

misuse:    ## prove that every mistake in Tests/Misuse fails to compile
	swift build
	scripts/misuse.sh

vectors: setup  ## rewrite the test vectors from the second implementation
	$$(scripts/test-venv.sh)/bin/python scripts/tokenvault_formats.py vectors

mutants:   ## prove that the kill tests notice a program that loses or repeats records
	swift build --build-tests
	scripts/mutants.sh

lint:      ## formatting, layering
	swift format lint --strict --recursive Sources Tests Package.swift
	scripts/check-layering.sh

benchmark: setup  ## figures, on a private cluster with normal durability
	swift build -c release --product tokenvault
	scripts/benchmark.sh
	scripts/benchmark_rotation.sh
	scripts/benchmark_recovery.sh

install:   ## program and migrations below PREFIX
	swift build -c release --product tokenvault --static-swift-stdlib
	install -D -m 755 .build/release/tokenvault $(DESTDIR)$(PREFIX)/bin/tokenvault
	install -d $(DESTDIR)$(PREFIX)/share/tokenvault/migrations/verify
	install -m 644 migrations/*.sql $(DESTDIR)$(PREFIX)/share/tokenvault/migrations
	install -m 644 migrations/verify/*.sql $(DESTDIR)$(PREFIX)/share/tokenvault/migrations/verify

check: test lint misuse mutants demo demo-sqs  ## what CI runs

.PHONY: help setup build demo demo-sqs test misuse mutants vectors lint benchmark install check
