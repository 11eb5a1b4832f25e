"""What this machine has and lacks for each part of the toolchain."""
