#!/bin/sh
# sweep NAME: kill every process whose environment contains the name of a private folder. Prints "still NUMBER NAME" for each
# process that remains. Other scripts are sent together with this function.
# It uses only /proc and built-in commands, which every device has. `read` drops the NULs between variables.
sweep() {
  for round in 1 2 3 4 5; do
    found=
    for process in /proc/[0-9]*; do
      while IFS= read -r line || [ -n "$line" ]; do
        case $line in *"EL_LARQ_FOLDER=$1"*) found="$found ${process#/proc/}"; break;; esac
      done < "$process/environ"
    done 2>/dev/null
    [ -n "$found" ] || return 0
    # shellcheck disable=SC2086  # a list of process numbers
    kill -9 $found 2>/dev/null
    [ "$round" = 1 ] || sleep 1
  done
  for process in $found; do
    read -r name 2>/dev/null < "/proc/$process/comm" && printf 'still %s %s\n' "$process" "$name"
  done
}
