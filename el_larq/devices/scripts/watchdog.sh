#!/bin/sh
# $@: directories in which the private folder may be created, in order of preference.
# Needs sweep.sh before it. Reads heartbeats from standard input until a line "end", the end of the input, or silence.
# Prints "folder PATH" or "refused REASON"; at the end "still NUMBER NAME" for each process that remains, and "gone" or "left".
umask 077
reason=
for base in "$@"; do
  folder=$(mktemp -d "$base/el-larq.XXXXXXXXXX" 2>&1) || { reason="$base: $folder"; continue; }
  printf '#!/bin/sh\nexit 0\n' > "$folder/try" && chmod 700 "$folder/try" && "$folder/try" 2>/dev/null && break
  [ -x /system/bin/sh ] && printf '#!/system/bin/sh\nexit 0\n' > "$folder/try" && "$folder/try" 2>/dev/null && break
  reason="$base: no space, or programs may not be executed there (noexec)"
  rm -rf "$folder"
  folder=
done
[ -d "$folder" ] || { printf 'refused %s\n' "$reason"; exit 1; }
rm -f "$folder/try"
end() {
  for file in "$folder"/pid.*; do
    [ -f "$file" ] || continue
    read -r pid < "$file"
    kill -9 -"$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null
  done
  sweep "${folder##*/}"
  rm -rf "$folder"
}
trap '' HUP INT PIPE
trap 'end; exit 1' TERM
echo 0 > "$folder/beat"
# Ends everything when two checks in a row see the same heartbeat.
(
  trap 'kill $nap 2>/dev/null; exit 0' TERM
  last=
  while :; do
    sleep 15 & nap=$!
    wait $nap
    now=$(cat "$folder/beat" 2>/dev/null) || exit 0
    [ "$now" = "$last" ] && break
    last=$now
  done
  end
  kill -9 $$
) < /dev/null > /dev/null 2>&1 &
ticker=$!
printf 'folder %s\n' "$folder"
beat=0
while read -r line; do
  [ "$line" = end ] && break
  beat=$((beat + 1))
  echo $beat > "$folder/beat"
done
kill $ticker 2>/dev/null
end
[ -e "$folder" ] && echo left || echo gone
