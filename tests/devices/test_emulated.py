"""Counting instructions in the emulator, with a program whose instructions are known. Skipped without QEMU and a cross compiler."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from el_larq.devices import emulator
from el_larq.devices.emulated_core import CORES, cpuinfo, parse_core
from el_larq.devices.emulator import explain_emulator
from el_larq.devices.instruction_counts import CountPlan, InstructionCount, count_instructions
from el_larq.devices.targets import check_target, open_target
from el_larq.errors import ElLarqError, UsageError
from el_larq.tflite import instruction_constants

CROSS = "aarch64-linux-gnu-gcc"
HERE = Path(__file__).parent
DATA = HERE.parent / "data"
MODEL = DATA / "t1.tflite"
WORK = 200 * MODEL.stat().st_size

needs_emulator = pytest.mark.skipif(
    not (shutil.which("qemu-aarch64") and shutil.which(CROSS) and shutil.which("cc")),
    reason="needs qemu-aarch64, cc and aarch64-linux-gnu-gcc",
)


def build(folder: Path, *options: str) -> Path:
    """The stand-in, with texts of authentic logs."""
    logs = DATA / "logs" / "aarch64"
    text = (logs / "fixedruns_t1.stdout").read_text().replace("%", "%%").replace("count=10 ", "count=%d ")
    header = folder / "texts.h"
    texts = {"HELP": (logs / "help.stderr").read_text(), "LOG": text}
    header.write_text("".join(f"#define {name} {json.dumps(text)}\n" for name, text in texts.items()))
    path = folder / f"program{''.join(options)}"
    command = [CROSS, "-O1", "-include", str(header), *options, str(HERE / "emulated_program.c"), "-o", str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("program"))


def count(program: Path, core: str = "cortex-a72", **options: Any) -> InstructionCount:
    (found,) = count_instructions(CountPlan((MODEL,), core, binary=program, **options))
    return found


@needs_emulator
def test_an_inference_is_counted_exactly(program: Path) -> None:
    first, second = count(program), count(program, runs=5)
    # In addition to the loop, each inference reads /proc/cpuinfo.
    assert WORK < first.instructions < WORK + 100_000
    assert second.instructions == pytest.approx(first.instructions, rel=1e-5)
    assert first.symbols[0] == ("kernel", WORK + 1)
    assert dict(first.symbols)["?"] < 100_000
    assert sum(number for _, number in first.symbols) == pytest.approx(first.instructions, abs=10)
    assert (first.core, first.inferences, first.engine) == ("cortex-a72", 2, "program")


@needs_emulator
def test_the_program_reads_the_emulated_core_in_proc_cpuinfo(program: Path) -> None:
    found = count(program, "cortex-a76")
    assert found.symbols[0] == ("kernel_with_dot_product", WORK // 2 + 1)


@needs_emulator
def test_a_static_program_needs_no_libraries(tmp_path: Path) -> None:
    static = build(tmp_path, "-static")
    assert emulator.find_libraries(static) is None
    assert dict(count(static).symbols)["kernel"] == WORK + 1


@needs_emulator
def test_the_command_counts_and_keeps_a_limit(program: Path, el_larq_here: Callable[..., CompletedProcess[str]]) -> None:
    other = DATA / "bin4.tflite"
    arguments = ("benchmark", MODEL, other, "--target", "emulated:cortex-a53", "--binary", program)
    text = el_larq_here(*arguments, "--max-instructions", "1000M")
    assert text.returncode == 0, text.stderr
    assert "kernel" in text.stdout
    assert "instructions are not time" in text.stderr
    result = el_larq_here(*arguments, "--json", "--max-instructions", str(WORK - 1))
    content = json.loads(result.stdout)
    assert "instructions are not time" in content["caveat"]
    counts = {Path(one["model"]): one["instructions"] for one in content["counts"]}
    over = [str(model) for model, instructions in counts.items() if instructions > WORK - 1]
    assert str(MODEL) in over
    assert (result.returncode, content["exceeded"]) == (1, over)
    assert "exceed --max-instructions" in result.stderr


@needs_emulator
def test_what_does_not_fit_is_refused_in_one_line(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, el_larq_here: Callable[..., CompletedProcess[str]]
) -> None:
    with pytest.raises(ElLarqError, match=r"is for x86_64 .* el-larq engine fetch aarch64"):
        count(Path(shutil.which("true") or ""))
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(UsageError, match="is a script, which cannot be emulated"):
        count(script)
    with pytest.raises(ElLarqError, match="ran 3 inferences instead of 2"):
        count(build(tmp_path, "-DDEAF"))
    monkeypatch.setattr(emulator, "INTERFACES", (99,))
    with pytest.raises(
        ElLarqError, match=r"the plugin interface of .*qemu-aarch64 does not match \(.*version 99.*\); install QEMU"
    ):
        count(program)
    monkeypatch.undo()
    for arguments in (("--threads", "2"), ("--profile",), ("--warmup", "3"), ("--trust",)):
        refused = el_larq_here("benchmark", MODEL, "--target", "emulated", "--binary", program, *arguments)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


@needs_emulator
def test_what_is_missing_is_named(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: shutil.which(name) for name in ("qemu-aarch64", "cc")}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    missing = "qemu-aarch64"
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else found.get(name))
    with pytest.raises(ElLarqError, match="which is not installed; install it"):
        count(program)
    missing = "cc"
    with pytest.raises(ElLarqError, match=r"needs a C compiler .* apt-get install gcc"):
        count(program)
    missing = ""
    (tmp_path / "broken").write_text("#!/bin/sh\necho 'no such option' >&2\nexit 1\n")
    (tmp_path / "broken").chmod(0o755)
    found["cc"] = str(tmp_path / "broken")
    with pytest.raises(ElLarqError, match=r"broken cannot compile the counter of instructions \(no such option\)"):
        count(program)
    monkeypatch.setattr(emulator, "read_elf", lambda _: emulator_elf())
    monkeypatch.delenv("QEMU_LD_PREFIX", raising=False)
    with pytest.raises(ElLarqError, match=r"needs the loader /none/ld.so .* apt-get install libc6-arm64-cross"):
        emulator.find_libraries(program)


@needs_emulator
def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, found, _ = emulator.describe_readiness()
    assert ready
    assert "qemu-aarch64" in found
    monkeypatch.setattr(emulator, "has_libraries", lambda: False)
    assert emulator.describe_readiness()[::2] == (False, emulator.INSTALL_LIBRARIES)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    ready, found, remedy = emulator.describe_readiness()
    assert (ready, "qemu-user" in remedy, "is not installed" in found) == (False, True, True)


def emulator_elf() -> Any:
    from el_larq.devices.engine import Elf

    return Elf(64, "aarch64", "/none/ld.so")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qemu-aarch64: Could not load plugin a.so: no symbol", "cannot load the counter"),
        ("qemu-aarch64: Could not open '/lib/ld-linux-aarch64.so.1': No such file", "libc6-arm64-cross"),
        ("qemu-aarch64: x: Invalid ELF image for this architecture", "give one for 64-bit ARM Linux with --binary"),
        ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", ""),
    ],
)
def test_errors_of_the_emulator_have_remedies(text: str, message: str) -> None:
    found = explain_emulator(f"{text}\n", "/usr/bin/qemu-aarch64")
    assert message in found
    assert bool(found) == bool(message)


def test_cores_are_those_whose_cost_is_predicted() -> None:
    assert set(CORES) == set(instruction_constants.CORES)
    assert {core for core in CORES if "asimddp" in cpuinfo(core)} == set(instruction_constants.DOT_PRODUCT)
    assert len(re.findall(r"^processor\t: \d$", cpuinfo("cortex-a53"), re.MULTILINE)) == 4


def test_targets() -> None:
    assert check_target("emulated") == check_target("emulated:cortex-a53") == "emulated"
    assert (parse_core("emulated"), parse_core("emulated:cortex-a76")) == ("cortex-a72", "cortex-a76")
    for name in ("emulated:", "emulated:m4"):
        with pytest.raises(UsageError, match="unknown core"):
            check_target(name)
    with pytest.raises(UsageError, match="only el-larq benchmark can use it"):
        open_target("emulated")


def test_the_limit_applies_to_counts_only(el_larq_here: Callable[..., CompletedProcess[str]]) -> None:
    refused = el_larq_here("benchmark", MODEL, "--max-instructions", "5")
    assert "--max-instructions needs --target emulated" in refused.stderr
    assert "is not a number of instructions" in el_larq_here("benchmark", MODEL, "--max-instructions", "5G").stderr
