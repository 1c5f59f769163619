#!/usr/bin/env bash
# VNN-COMP: install_tool.sh v1
# Puts the tool with its dependencies into the environment folder env/ beside this script.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $# -lt 1 || $1 != v1 ]]; then
    echo "usage: install_tool.sh v1" >&2
    exit 1
fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "install_tool.sh: $python is older than Python 3.11; name a newer one in PYTHON." >&2
    exit 1
fi
if ! command -v "${CXX:-g++}" >/dev/null && ! command -v clang++ >/dev/null; then
    echo "install_tool.sh: no C++ compiler found; the tool works without its native kernels, but slower." >&2
fi

"$python" -m venv "$here/env"
printf '*\n' >"$here/env/.gitignore"
"$here/env/bin/python" -m pip install --quiet --editable "$here/../..[onnx]"
"$here/env/bin/python" -m admm_verify --version
