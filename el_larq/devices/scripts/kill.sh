#!/bin/sh
# $1: private folder, $2: number of the run whose processes are killed. Needs sweep.sh before it.
read -r pid < "$1/pid.$2" && { kill -9 -"$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null; }
sweep "${1##*/}" > /dev/null
exit 0
