#!/usr/bin/env bash
# Builds the agents into build/:
#   goat-eval                                     goat-eval, one file, for any Linux with Python 3.9 or later
#   goat-eval-linux-amd64, goat-eval-linux-arm64  the Go agent, when GOAT_SRC names its source and Go is there
#
# Usage: bash infra/build_eval.sh [FOLDER]        FOLDER: where to build, instead of build/
# Environment: PYTHON  the Python to build with (default: python3; 3.11 or later)
#              GOAT_SRC  a checkout of the Go agent, with cmd/eval in it
# Exit code: 0 when everything asked for was built, 1 when something is missing or a build failed.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$root/build}
python=${PYTHON:-python3}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

build_python_agent() {
    command -v "$python" >/dev/null || fail "$python is not installed; install Python 3.11 or later, or set PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || fail "$python is $("$python" -V 2>&1); Python 3.11 or later is needed, set PYTHON"
    PYTHONPATH=$root "$python" -m pytest_goat.agent.bundle "$out/goat-eval"
}

build_go_agent() {
    if [[ -z ${GOAT_SRC:-} ]]; then
        printf 'the Go agent is not built: set GOAT_SRC to a checkout of its source\n'
        return
    fi
    [[ -d $GOAT_SRC/cmd/eval ]] || fail "GOAT_SRC=$GOAT_SRC has no cmd/eval; it must be a checkout of the Go agent"
    command -v go >/dev/null || fail "GOAT_SRC is set, but go is not installed; see https://go.dev/doc/install"
    local arch
    for arch in amd64 arm64; do
        (cd -- "$GOAT_SRC" && CGO_ENABLED=0 GOOS=linux GOARCH=$arch \
            go build -trimpath -ldflags='-s -w' -o "$out/goat-eval-linux-$arch" ./cmd/eval)
        printf '%s\n' "$out/goat-eval-linux-$arch"
    done
}

mkdir -p -- "$out"
out=$(cd -- "$out" && pwd)
build_python_agent
build_go_agent
