#!/usr/bin/env bash
# The tests marked slow: minutes, not seconds. Extra arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python -m pytest -m slow "$@"
