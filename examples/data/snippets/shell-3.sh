#!/bin/bash
target="/var/backups/$(date +%Y-%m-%d)"
mkdir -p "$target"

for name in etc home srv; do
  if [ -d "/$name" ]; then
    tar -czf "$target/$name.tar.gz" "/$name" || echo "cannot back up $name"
  fi
done

du -sh "$target"
