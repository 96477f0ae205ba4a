# Every target may be the first command in a fresh clone: tools/bootstrap.py makes .venv when there is none.
# Where there is no make (Windows), the same: py tools\make.py book
PYTHON ?= $(shell command -v python3 || command -v python || echo python3)

.PHONY: book test serve lint bench clean

book test serve lint bench clean:
	@command -v "$(PYTHON)" >/dev/null || { echo "No Python found. Install Python 3.11 or newer, or: make $@ PYTHON=/path/to/python"; exit 1; }
	@"$(PYTHON)" tools/make.py $@
