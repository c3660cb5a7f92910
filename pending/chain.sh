#!/bin/bash
# chain.sh CHECKOUT STEP...: fit engine explore claims serving small tables
cd "$1" || exit 1; shift
export -n OPENBLAS_CORETYPE; unset OPENBLAS_CORETYPE
PY=.venv/bin/python; S=.venv/bin/sailsim
for step in "$@"; do
  echo "== $step $(date +%T)" >> /work/chain.log
  case $step in
    host) $PY research/fit.py ;;
    fit) $PY research/fit.py && $PY research/fit.py ;;
    engine) $PY research/gem5_data.py engine && $PY research/kernel_shares.py > /tmp/ks.csv && cp /tmp/ks.csv analysis/data/kernel_shares.csv ;;
    explore) rm -rf /work/explore3; $S explore --samples ${SAMPLES:-100000} --seed 0 --jobs 2 --out /work/explore3 --json > /work/explore3.json ;;
    next) $PY research/next_data.py /work/explore3 ;;
    claims) rm -rf /work/c1 /work/c2; $S claims reproduce --samples 128 --seed 0 --jobs 2 --out /work/c1 && $S claims joint --samples 2048 --seed 0 --jobs 2 --out /work/c2 && $PY research/claims.py /work/c1 /work/c2 ;;
    serving) $PY research/serving.py ;;
    small) $PY research/silicon.py ;;
    tables) $PY tools/tables.py; $PY /work/ordinary.py "$PWD"; $PY tools/tables.py --check ;;
    check) $S claims check --out /work/chk --json > /work/chk.json; $PY /work/checks.py "$PWD" /work/chk.json ;;
    transcripts) for p in $($PY -c "from tests.transcripts import PAGES; print(*PAGES)"); do $PY -m tests.transcripts $p; done ;;
  esac >> /work/chain.log 2>&1
  echo "== $step rc $? $(date +%T)" >> /work/chain.log
done
