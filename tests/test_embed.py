"""docs/embed: classify.cc is compiled against declarations of what it uses, since no Python package has the real headers; the
command that prints a card is run."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EMBED = Path(__file__).parents[1] / "docs" / "embed"
SOURCE = EMBED / "classify.cc"

TFLITE = """
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt8 = 9 };
union TfLitePtrUnion { char* raw; float* f; int8_t* int8; };
struct TfLiteTensor { TfLiteType type; TfLitePtrUnion data; size_t bytes; };
namespace tflite {
class MutableOpResolver {};
class FlatBufferModel {
 public:
  static std::unique_ptr<FlatBufferModel> VerifyAndBuildFromFile(const char* filename);
  std::map<std::string, std::string> ReadAllMetadata() const;
};
class Interpreter {
 public:
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteTensor* input_tensor(size_t index);
  const TfLiteTensor* output_tensor(size_t index) const;
};
namespace ops { namespace builtin { class BuiltinOpResolver : public MutableOpResolver {}; } }
class InterpreterBuilder {
 public:
  InterpreterBuilder(const FlatBufferModel& model, const MutableOpResolver& resolver);
  TfLiteStatus operator()(std::unique_ptr<Interpreter>* interpreter);
  TfLiteStatus SetNumThreads(int num_threads);
};
}
"""
LCE = """
#pragma once
#include "tensorflow/lite/model.h"
namespace compute_engine { namespace tflite {
void RegisterLCECustomOps(::tflite::MutableOpResolver* resolver, bool use_reference = false, bool use_indirect = false);
} }
"""


def test_the_c_plus_plus_program_compiles(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (apt-get install g++)")
    include = '#include "tensorflow/lite/model.h"\n'
    for name, content in (
        ("tensorflow/lite/model.h", TFLITE),
        ("tensorflow/lite/interpreter.h", include),
        ("tensorflow/lite/kernels/register.h", include),
        ("larq_compute_engine/tflite/kernels/lce_ops_register.h", LCE),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{tmp_path}", str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_documented_command_prints_the_card() -> None:
    (line,) = re.findall(r"^    (python -c .*) > card\.json$", (EMBED / "README.md").read_text("utf-8"), re.MULTILINE)
    _python, *arguments, model = shlex.split(line)
    assert model == "model.tflite"
    seeds = Path(__file__).parent / "fuzz" / "seeds"
    done = subprocess.run([sys.executable, *arguments, model], cwd=seeds, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"]
