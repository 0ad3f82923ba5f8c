#!/usr/bin/env bash
# Set up the virtual environment; called by the Makefile, harmless to call again. Environment: PYTHON, VENV.
set -euo pipefail

fail() {
  echo "setup: $*" >&2
  exit 1
}

is_supported() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}
if [ -z "${PYTHON:-}" ]; then
  for candidate in python3 python3.13 python3.12 python3.11; do
    if is_supported "$candidate"; then PYTHON=$candidate && break; fi
  done
  [ -n "${PYTHON:-}" ] || fail "found no Python 3.11, 3.12 or 3.13; install one, or name it: make setup PYTHON=/path/to/python3.12"
fi
is_supported "$PYTHON" || fail "$PYTHON is $("$PYTHON" --version 2>&1 | head -n 1); expected Python 3.11 to 3.13"

if [ ! -x "$VENV/bin/python" ]; then
  "$PYTHON" -m venv "$VENV" || fail "could not make $VENV; on Debian and Ubuntu: apt-get install python3-venv"
fi
python="$VENV/bin/python"
if [ "$("$python" -m uv --version 2>/dev/null | cut -d' ' -f2)" != "$(sed -n 's/^uv==\([0-9.]*\).*/\1/p' packaging/uv.txt)" ]; then
  "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r packaging/uv.txt
fi

echo "setup: installing the pinned packages into $VENV (about 5 GB the first time)"
# Installing, not synchronising: what a user added, such as an upstream detectron2, stays.
"$python" -m uv pip install --quiet --python "$python" --require-hashes -r requirements.lock
"$python" -m uv pip install --quiet --python "$python" --no-deps --no-build-isolation --editable .

detectron2_version() {
  "$python" -c 'import importlib.metadata as m; print(m.version("detectron2"))' 2>/dev/null || echo none
}
case "$(detectron2_version)" in
  none | *+labgym*)
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
      --require-hashes -r packaging/detectron2/labgym.txt
    # From a copy, so that building leaves nothing in the checkout.
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp -r packaging/detectron2 "$copy/"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$copy/detectron2"
    ;;
  *) echo "setup: keeping the detectron2 $(detectron2_version) that is there" ;;
esac
"$python" -c 'from detectron2.modeling import META_ARCH_REGISTRY' || fail "detectron2 cannot be imported"
echo "setup: ready"
