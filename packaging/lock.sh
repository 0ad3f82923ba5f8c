#!/usr/bin/env bash
# Write requirements.lock anew from pyproject.toml: exact versions with hashes, one file for Python 3.11 to 3.13, for uv
# and for pip (pip install --require-hashes -r requirements.lock).
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command "packaging/lock.sh" --all-extras --group dev --group docs pyproject.toml --output-file requirements.lock "$@"
