#!/usr/bin/env bash
# Build the wheel, and the source distribution that it is built from, into dist/; called by the Makefile. Needs pip, not .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
# From a copy, so that building leaves nothing in the checkout, and nothing of an earlier build gets in.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/source"
cp -r person_search reid_heads demo configs setup.py pyproject.toml MANIFEST.in README.md LICENSE "$copy/source"
find "$copy/source" -name __pycache__ -prune -exec rm -rf {} +
"$python" -m venv "$copy/venv" || { echo "wheel: could not make a virtual environment with $python; name another by PYTHON=" >&2; exit 1; }
"$copy/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'build>=1.2,<2'
"$copy/venv/bin/python" -m build --outdir dist "$copy/source" > "$copy/log" 2>&1 || { cat "$copy/log" >&2; exit 1; }
for file in dist/person_search-*.whl; do
  echo "wrote $file: pip install $file"
done
