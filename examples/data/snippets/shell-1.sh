#!/bin/sh
set -eu

directory=${1:-.}
keep=${2:-7}

find "$directory" -name '*.log' -mtime "+$keep" -print | while read -r file; do
  gzip -9 "$file"
  echo "compressed $file"
done
