#!/usr/bin/env bash
set -euo pipefail

usage() {
  echo "usage: $0 <host> <port>" >&2
  exit 2
}

[[ $# -eq 2 ]] || usage

for attempt in {1..30}; do
  if timeout 1 bash -c "echo > /dev/tcp/$1/$2" 2>/dev/null; then
    echo "up after $attempt attempts"
    exit 0
  fi
  sleep 1
done
echo "gave up" >&2
exit 1
