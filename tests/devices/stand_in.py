"""A stand-in for the benchmark binary: a shell script that replays authentic logs with their streams and exit codes."""

from pathlib import Path

LOGS = Path(__file__).parents[1] / "data" / "logs"


def _say(text: str, stream: str = "") -> str:
    end = "END-OF-AUTHENTIC-LOG"
    if text.endswith("\n"):
        return f"cat {stream} <<'{end}'\n{text}{end}\n"
    # A truncated log has no final line end.
    return f"printf %s \"$(cat <<'{end}'\n{text}\n{end}\n)\" {stream}\n" if text else ""


def replay(log: str, status: int = 0) -> str:
    stdout, stderr = ((LOGS / f"{log}.{stream}").read_bytes().decode() for stream in ("stdout", "stderr"))
    return f"{_say(stdout)}{_say(stderr, '>&2')}exit {status}\n"


def write(
    path: Path,
    *,
    plain: str = "aarch64/plain_t1",
    status: int = 0,
    profile: str = "aarch64/profile_t1_noxnn",
    reference: str = "aarch64/refbconv_t1",
    before: str = "",
) -> Path:
    """Write the script. ``before``: shell code that runs before the log of a run without profile, for example a hang or a crash."""
    path.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f"*--help*)\n{replay('aarch64/help', 1)};;\n"
        f"*--use_reference_bconv=true*)\n{replay(reference)};;\n"
        f"*--enable_op_profiling=true*)\n{replay(profile)};;\n"
        f"*)\n{before}\n{replay(plain, status)};;\n"
        "esac\n"
    )
    return path
