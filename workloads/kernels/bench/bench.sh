#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What the cores of an AArch64 server reach with this project's kernels, as one CSV on stdout, in ten minutes:
#     ./bench > bench.csv
# The folder holds all it needs. BENCH_RUN goes before every program (an emulator); --quick is for trying it out:
# its times mean nothing. docs/baselines.md says what the columns are and who reads them.
set -eu
here=$(dirname "$0")
run=${BENCH_RUN:-}
cores=$(getconf _NPROCESSORS_ONLN)
[ "$cores" -le 64 ] || cores=64
threads=$(for count in 1 2 4 8 16 32 "$cores"; do [ "$count" -gt "$cores" ] || echo "$count"; done | sort -nu)
bytes=268435456 k=4096 n=16384 contexts="512 4096" repeats=10
if [ "${1:-}" = --quick ]; then
    threads="1 2" bytes=65536 k=256 n=64 contexts=40 repeats=2
elif [ $# -gt 0 ]; then
    echo "error: $1 is no option; allowed: none, or --quick" >&2
    exit 2
fi

# Fields of a line of JSON, by their names, with commas between.
fields() {
    line=$1
    shift
    for name in "$@"; do
        printf '%s' "${comma:-}"
        printf '%s' "$line" | sed -n "s/.*\"$name\": \"\{0,1\}\([^,\"}]*\).*/\1/p" | tr -d '\n'
        comma=,
    done
    comma=
}

model=$( (lscpu 2>/dev/null || true) | sed -n 's/^Model name: *//p' | head -n 1)
part=$(sed -n 's/^CPU \(implementer\|part\)[^:]*: *//p' /proc/cpuinfo | sort -u | tr '\n' ' ')
echo "# cpu: ${model:-unknown} $part"
echo "# cores: $cores, kernel $(uname -r)"
echo "# compiler: @COMPILER@"
echo "# date: $(date -u +%F)"
echo "what,kind,threads,batch,context,macs,bytes,ns,result,wrong"
for count in $threads; do
    $run "$here/bandwidth" --bytes "$bytes" --threads "$count" --repeats "$repeats" | while read -r line; do
        echo "stream,$(fields "$line" kind threads),,,,$(fields "$line" bytes best_ns),,$(fields "$line" mismatches)"
    done
done
for kind in q8_0 q4_0 q4_1 q2; do
    for batch in 1 4 8; do
        for count in $threads; do
            line=$($run "$here/neon_gemv" --format "$kind" --k "$k" --n "$n" --batch "$batch" --threads "$count" \
                --repeats "$repeats")
            echo "gemv,$(fields "$line" format threads batch),,$(fields "$line" macs weight_bytes best_ns checksum mismatches)"
        done
    done
done
# Attention alone: one block of 32 heads, whose keys 32 or 8 heads have, between matrices of next to nothing.
for heads in 32 8; do
    for cache in fp16 int8; do
        cache_bits=${cache#[fi]*[pt]}
        for context in $contexts; do
            for batch in 1 8; do
                for count in $threads; do
                    line=$($run "$here/decode" --image "$here/heads$heads.image" --cache "$cache" \
                        --context "$context" --batch "$batch" --threads "$count" --steps "$repeats")
                    cycles=$(fields "$line" attention_cycles) mhz=$(fields "$line" clock_mhz)
                    seen=$((batch * 2 * 128 * (context + (repeats + 1) / 2))) # numbers of a head; a step's mean
                    bytes=$((heads * seen * (cache_bits / 8)))
                    echo "attention,$cache/$heads,$count,$batch,$context,$((32 * seen)),$bytes," \
                        "$((cycles * 1000 / mhz)),$(fields "$line" logits)," | tr -d ' '
                done
            done
        done
    done
done
