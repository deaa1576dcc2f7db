#!/bin/sh
# The Berka panel by path, against LightGBM and XGBoost with split conformal calibration: benches/README.md has the tables.
#
#   [TEACHERS=by-time] [LADDER=1] benches/berka.sh DIRECTORY_OF_THE_ASC_FILES [FOLDS]
#
# TEACHERS=by-time lets the accounts that choose and calibrate teach, too, with their earlier windows: the protocol of the
# notes, which guarantees nothing. LADDER compares the ladder head, too.
#
# Every column is computed on the rows at hand. Needs .venv (./test.sh makes it) and the release build of plimsoll.
set -eu
cd "$(dirname "$0")/.."
data=$1 folds=${2:-10}
python=${PLIMSOLL_PYTHON:-.venv/bin/python}
plimsoll=${PLIMSOLL:-${CARGO_TARGET_DIR:-target}/release/plimsoll}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for path in A,1:strict:24:50 A,3:strict:72:50 A,7:strict:168:50 C,3:committed:72:0; do
    IFS=: read -r name target hours spare <<END
$path
END
    rows=$work/$name
    asked="--data $data --config train/configs/berka-backtest.toml --folds $folds --teachers ${TEACHERS:-by-account}"
    asked="$asked --ages 0 --cap 5000 --target $target --spare $spare"
    # Rates of the same-rate reading in parts per million; the certificate is of 1 %.
    asked="$asked --window-h $hours --rate 10000 --rate 5000 --rate 1000"
    "$plimsoll" backtest $asked --export "$rows" > "$work/exported"
    "$python" benches/oracles/backtest_peers.py "$rows"
    "$plimsoll" --json backtest $asked ${LADDER:+--ladder} --peers "$rows" --peer lightgbm --peer xgboost > "$work/$name.json"
    "$python" benches/oracles/backtest_table.py "$name" "$work/$name.json"
    rm -r "$rows"
done
