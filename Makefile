# Everything starts here: `make demo` on a machine that has only Python 3.11, git and make.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup demo test browser test-unit lint safety bundle colcon clean

VENV := .venv
PYTHON := $(VENV)/bin/python
EXTRAS := core,ros,console,devices,lab,train,gpu,dev
# libraries that wheels expect of the system, and a C compiler for the one package without a wheel (evdev)
DEBIAN := libusb-1.0-0 libegl1 libgl1 libgl1-mesa-dri gcc libc6-dev
# for the tests alone: the browser that drives the console
BROWSER := chromium-headless-shell
INPUTS := Makefile constraints.txt setup.py setup.cfg pyproject.toml
STAMP := $(VENV)/.setup-$(shell cat $(INPUTS) | sha256sum | cut -c1-16)
TESTS := $(wildcard test/unit test/ros test/lab)

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP) ## Debian packages, .venv, every dependency at its exact version

$(STAMP): $(INPUTS)
	@python=
	for name in python3.11 python3 python; do
	  if "$$name" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then python=$$name; break; fi
	done
	if [ -z "$$python" ]; then
	  echo "como_ros needs Python 3.11, found $$(python3 --version 2>&1); install it so that python3.11 is on PATH" >&2
	  exit 1
	fi
	if command -v dpkg-query >/dev/null; then
	  wanted="$(DEBIAN)"
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || wanted+=" python3-venv"
	  "$$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
	    || wanted+=" python3-dev"
	  missing=
	  for name in $$wanted; do
	    dpkg-query -W -f '$${Status}\n' "$$name" 2>/dev/null | grep -q 'ok installed' || missing+=" $$name"
	  done
	  if [ -n "$$missing" ]; then
	    echo "installing Debian packages:$$missing"
	    as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo
	    $$as_root apt-get update -qq
	    $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null
	  fi
	else
	  echo "not Debian: make sure that libusb 1.0, EGL, GL, Mesa's software driver and a C compiler are there"
	fi
	$(PYTHON) -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear $(VENV)
	echo "installing Python packages into $(VENV); the first time this takes minutes"
	$(PYTHON) -m pip install -qq -c constraints.txt -e '.[$(EXTRAS)]'
	rm -f $(VENV)/.setup-*
	touch $@

demo: setup ## the whole graph in the lab with the shipped bundle: success, latency, video, bag
	@$(VENV)/bin/como demo

test: lint browser ## linters, then all tests
	@$(VENV)/bin/pytest $(TESTS)

browser: setup ## a headless Chromium, which the test of the console needs and skips without
	@if command -v dpkg-query >/dev/null && ! command -v $(BROWSER) >/dev/null; then
	  as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo
	  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(BROWSER) >/dev/null \
	    || echo "no $(BROWSER): without another Chromium, the test of the console in a browser is skipped" >&2
	fi

test-unit: setup ## the tests that need no ROS and no GPU
	@$(VENV)/bin/pytest test/unit

lint: setup ## pip check, ruff, mypy
	@$(PYTHON) -m pip check
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/mypy

safety: setup ## run the tests of the fault table and write docs/safety.md with what they measured
	@$(VENV)/bin/pytest $$(grep -l "reaction" test/*/*.py) --safety docs/safety.md

bundle: setup ## remake the shipped bundle from raw seeds (hours)
	@$(VENV)/bin/como reproduce

colcon: setup ## build the last commit as a ROS 2 package, plain and with --symlink-install
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT
	$(PYTHON) -m venv "$$scratch/venv"
	"$$scratch/venv/bin/pip" install -qq colcon-bash colcon-output colcon-ros colcon-recursive-crawl 'setuptools<80' numpy tyro rich
	git clone -q . "$$scratch/ws/src/como_ros"
	cd "$$scratch/ws"; export PATH="$$scratch/venv/bin:$$PATH"
	for mode in '' --symlink-install; do
	  rm -rf build install log
	  colcon build $$mode
	  (set +u; . install/setup.bash; install/como_ros/lib/como_ros/como --help >/dev/null)
	  test -e install/como_ros/share/como_ros/launch/autonomous.launch.py
	done

clean: ## builds and caches; .venv and out/ stay
	@rm -rf build install log *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
