"""The arena size predicted by `el-larq inspect` and the memory that LCE's interpreter actually allocates, for six networks.

    python benchmarks/peak_ram.py

The interpreter allocates its arena when it is constructed, in one call of aligned_alloc with an alignment of 64. A few lines of C,
compiled with cc and loaded before libc with LD_PRELOAD, record the largest such call. The growth of the whole heap during the
construction, minus the interpreter's copy of the file, is printed as well (glibc's mallinfo2).
One thread, the default binary kernel, no XNNPACK.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import el_larq

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
size_t greatest = 0;
void *aligned_alloc(size_t alignment, size_t size) {
    static void *(*real)(size_t, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "aligned_alloc");
    if (alignment == 64 && size > greatest) greatest = size;
    return real(alignment, size);
}
"""

CHILD = """
import ctypes, sys
FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS.split()]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Mallinfo
greatest = ctypes.c_size_t.in_dll(libc, "greatest")
def used():
    info = libc.mallinfo2()
    return info.uordblks + info.hblkhd
import el_larq
import larq_compute_engine as lce
content = open(sys.argv[1], "rb").read()
lce.testing.Interpreter(open(sys.argv[2], "rb").read())
greatest.value, before = 0, used()
interpreter = lce.testing.Interpreter(content)
print("\\nREAD", greatest.value, used() - before - len(content))
"""

NETWORKS = {
    "resnet26 el, 224": ("resnet26", "el", (224, 224, 3), 1000, {}),
    "resnet18 bireal, 224": ("resnet18", "bireal", (224, 224, 3), 1000, {}),
    "resnet26 binary, small stem, 224": ("resnet26", "binary", (224, 224, 3), 1000, {"stem": "small", "downsample": "binary"}),
    "resnet18 float, half width, 96": ("resnet18", "float", (96, 96, 3), 100, {"width": 0.5}),
    "resnet50 el, half width, 128": ("resnet50", "el", (128, 128, 3), 100, {"width": 0.5}),
    "resnet26 el, quarter width, 32": ("resnet26", "el", (32, 32, 1), 18, {"width": 0.25}),
}


def main() -> None:
    if shutil.which("cc") is None:
        sys.exit("this benchmark needs a C compiler: apt-get install gcc libc6-dev")
    from el_larq.inspection.inspect import inspect

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "read.c").write_text(SOURCE)
        library = folder / "read.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "read.c", "-ldl"], check=True)
        warm = Path(__file__).parents[1] / "tests" / "data" / "t1.tflite"
        print(f"{'network':34}{'planned':>12}{'allocated':>12}{'off':>8}{'heap growth':>14}{'off':>8}")
        for title, (network, method, shape, classes, options) in NETWORKS.items():
            path = folder / "model.tflite"
            model = el_larq.build(network, method, input_shape=shape, num_classes=classes, **options)
            el_larq.convert(model, path, skip=("verify",))
            result = subprocess.run(
                [sys.executable, "-c", CHILD, path, warm],
                env=os.environ | {"LD_PRELOAD": str(library)},
                capture_output=True,
                text=True,
                check=True,
            )
            allocated, heap = (int(word) for word in result.stdout.split("READ")[1].split())
            planned = inspect(path).arena
            off = f"{planned / allocated - 1:+8.2%}{heap:14,}{planned / heap - 1:+8.1%}"
            print(f"{title:34}{planned:12,}{allocated:12,}{off}", flush=True)


if __name__ == "__main__":
    main()
