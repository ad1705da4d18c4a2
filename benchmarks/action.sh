#!/usr/bin/env bash
# The steps of action.yml; its inputs come as TINSMITH_… in the environment.
set -euo pipefail

# tinsmith as it is beside this script, into the Python that is on the PATH.
install_tinsmith() {
    local root extras=() packages=() engine
    root=$(cd "$(dirname "$0")/.." && pwd)
    for engine in $TINSMITH_ENGINES; do
        case $engine in
        native) packages+=("$root/runtime/native") ;;
        litert | onnx) extras+=("$engine") ;;
        *)
            echo "::error::engines: expected native, litert or onnx, got $engine"
            exit 2
            ;;
        esac
    done
    local IFS=,
    python -m pip install --quiet "$root/runtime[images${extras[*]:+,${extras[*]}}]" "$root" \
        ${packages[@]+"${packages[@]}"}
}

# Adds `$1 LINE` to the words for each line of $2.
add() {
    local line
    while IFS= read -r line; do
        line=${line%$'\r'}
        [ -z "${line// /}" ] || words+=(${1:+"$1"} "$line")
    done <<<"$2"
}

measure() {
    local folder words=() more=() status=0
    folder=$(mktemp -d "${RUNNER_TEMP:-/tmp}/tinsmith.XXXXXX")
    add --data "$TINSMITH_BENCH_DATA"
    add --baseline "$TINSMITH_BASELINE"
    add --fail-if "$TINSMITH_FAIL_IF"
    add --config "$TINSMITH_CONFIG"
    read -ra more <<<"$TINSMITH_OPTIONS" || true
    words+=(${more[@]+"${more[@]}"} --json "$folder/report.json" --markdown "$folder/report.md")
    [ -z "${TINSMITH_BUNDLES//[[:space:]]/}" ] || words+=(--)
    add "" "$TINSMITH_BUNDLES"
    tinsmith bench "${words[@]}" | tee "$folder/said.txt" || status=$?
    if [ -s "$folder/report.md" ]; then
        echo "report=$folder/report.json" >>"$GITHUB_OUTPUT"
        cat "$folder/report.md" >>"$GITHUB_STEP_SUMMARY"
        # What moved, and which conditions failed; as it was printed.
        {
            printf '\n~~~~~~~~text\n'
            sed -n '/^What moved\|^Failed: \|^Not tried: \|^No gate of /,$p' "$folder/said.txt"
            printf '~~~~~~~~\n'
        } >>"$GITHUB_STEP_SUMMARY"
    fi
    return "$status"
}

case ${1:-} in
install) install_tinsmith ;;
bench) measure ;;
*)
    echo "expected install or bench, got ${1:-nothing}" >&2
    exit 2
    ;;
esac
