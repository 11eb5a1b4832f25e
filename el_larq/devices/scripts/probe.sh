#!/bin/sh
# $1: the folder whose free disk space is reported. Prints lines key=value; what the device does not report is empty or missing.
# The temperatures follow: temperatures.sh is sent after it.
say() { printf '%s=%s\n' "$1" "$2"; }
say machine "$(uname -m 2>/dev/null)"
say kernel "$(uname -sr 2>/dev/null)"
say time "$(date +%s 2>/dev/null)"
say elf_class "$(od -An -tu1 -j4 -N1 /proc/self/exe 2>/dev/null | tr -d ' ')"
say long_bit "$(getconf LONG_BIT 2>/dev/null)"
say cpus "$(nproc 2>/dev/null || grep -c ^processor /proc/cpuinfo)"
for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
  number=${cpu##*/cpu}
  [ -r "$cpu/cpu_capacity" ] && say "capacity.$number" "$(cat "$cpu/cpu_capacity")"
  [ -r "$cpu/cpufreq/cpuinfo_max_freq" ] && say "max_khz.$number" "$(cat "$cpu/cpufreq/cpuinfo_max_freq")"
  [ -r "$cpu/cpufreq/scaling_governor" ] && say "governor.$number" "$(cat "$cpu/cpufreq/scaling_governor")"
done
while read -r key value _; do
  [ "$key" = MemAvailable: ] && say mem_kb "$value"
done < /proc/meminfo 2>/dev/null
say disk_kb "$(df -k "$1" 2>/dev/null | tail -n 1 | awk '{print $(NF-2)}' 2>/dev/null)"
if [ -r /proc/device-tree/model ]; then say board "$(tr -d '\000' < /proc/device-tree/model)"; fi
while IFS=: read -r key value; do
  case $key in Features*|flags*) say features "$value"; break;; esac
done < /proc/cpuinfo 2>/dev/null
if command -v getprop > /dev/null 2>&1; then
  say android "$(getprop ro.build.version.release)"
  say sdk "$(getprop ro.build.version.sdk)"
  say abis "$(getprop ro.product.cpu.abilist)"
  say board "$(getprop ro.product.manufacturer) $(getprop ro.product.model)"
fi
command -v taskset > /dev/null 2>&1 && say taskset yes
command -v vcgencmd > /dev/null 2>&1 && say throttled "$(vcgencmd get_throttled 2>/dev/null)"
