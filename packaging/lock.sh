#!/usr/bin/env bash
# Write requirements.lock anew from pyproject.toml: exact versions with hashes, one file for Python 3.11 to 3.13, for uv
# and for pip (pip install --require-hashes -r requirements.lock). Without the extra fiftyone, which would bring sixty
# packages, and older ones of the others', into every checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command "packaging/lock.sh" --extra train --extra milvus --extra formats --group dev --group docs pyproject.toml --output-file requirements.lock "$@"
