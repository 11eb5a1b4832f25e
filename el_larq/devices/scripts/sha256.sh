#!/bin/sh
# $1: a file. Prints its SHA-256 first, or "none" if the device cannot compute it.
if command -v sha256sum > /dev/null 2>&1; then sha256sum < "$1"
elif command -v openssl > /dev/null 2>&1; then openssl dgst -sha256 -r < "$1"
else echo none; fi
