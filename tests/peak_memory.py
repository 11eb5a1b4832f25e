"""The peak memory of a command."""

import subprocess
import sys
from collections.abc import Sequence

# A process starts with the memory of the one that forks it on its account, so a small one starts the command.
_STARTER = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def measured(command: Sequence[str]) -> tuple[subprocess.CompletedProcess[str], int]:
    """A finished command with its stderr and its peak memory in bytes; not on Windows."""
    done = subprocess.run([sys.executable, "-c", _STARTER, *command], capture_output=True, text=True, check=False)
    peak = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    return subprocess.CompletedProcess(command, done.returncode, "", done.stderr), peak
