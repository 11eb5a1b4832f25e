#!/bin/sh
# $1: private folder, $2: number of the run, then a program and its arguments. Ends with the program's status, or with 97 if
# the folder does not exist. Needs sweep.sh before it. The program gets a process group of its own where setsid exists.
cd "$1" || exit 97
pid="$1/pid.$2"
folder=${1##*/}
shift 2
if command -v setsid > /dev/null 2>&1; then EL_LARQ_FOLDER=$folder setsid "$@" < /dev/null &
else EL_LARQ_FOLDER=$folder "$@" < /dev/null & fi
child=$!
echo $child > "$pid" || { kill -9 $child; exit 97; }
wait $child
status=$?
rm -f "$pid"
sweep "$folder" > /dev/null
exit $status
