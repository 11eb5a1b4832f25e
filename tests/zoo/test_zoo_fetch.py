"""`el-larq zoo fetch`, from a local server in place of the releases, and from files."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_zoo import Files

from el_larq.downloads.asset import cache_folder, hash_file, pin_path
from el_larq.models.zoo.zoo_registry import ZOO
from el_larq.zoo.published_files import weights_file
from el_larq.zoo.weights_cache import fetch_weights, find_weights

Command = Callable[..., Any]


def cached() -> list[str]:
    """Names of all files in the cache."""
    return sorted(path.name for path in cache_folder("zoo").rglob("*") if path.is_file())


def test_a_network_is_fetched_once(el_larq_here: Command, tiny: Files, releases: dict[str, Any]) -> None:
    done = el_larq_here("zoo", "fetch", "zoo:tiny", "--json")
    assert done.returncode == 0, done.stderr
    [entry] = json.loads(done.stdout)
    assert Path(entry["path"]).read_bytes() == tiny.top.read_bytes()
    assert entry == {
        "name": "tiny",
        "path": entry["path"],
        "sha256": hash_file(tiny.top),
        "checked": "as published",
        "fetched": True,
    }
    assert releases["asked"] == [("/tiny-v1.0/tiny_weights.h5", None, None)]
    assert el_larq_here("zoo", "path", "tiny").stdout.strip() == entry["path"]

    again = el_larq_here("zoo", "fetch", "tiny")
    assert again.stdout.splitlines() == [entry["path"], f"  sha256 {entry['sha256']} (as published; was here already)"]
    assert len(releases["asked"]) == 1
    Path(entry["path"]).write_bytes(b"changed")
    assert json.loads(el_larq_here("zoo", "fetch", "tiny", "--json").stdout) == [entry]
    assert Path(entry["path"]).read_bytes() == tiny.top.read_bytes()
    pin_path(Path(entry["path"])).write_text("{")
    assert el_larq_here("zoo", "list").returncode == 0
    assert json.loads(el_larq_here("zoo", "fetch", "tiny", "--json").stdout) == [entry]
    assert cached() == ["tiny_weights.h5", "tiny_weights.h5.pin.json"]


def test_a_download_that_was_interrupted_is_resumed(el_larq_here: Command, tiny: Files, releases: dict[str, Any]) -> None:
    releases["stop"] = 50_000
    done = el_larq_here("zoo", "fetch", "tiny")
    assert done.returncode == 1
    assert "50000 bytes are kept, and the next attempt resumes there" in done.stderr
    assert el_larq_here("zoo", "path", "tiny").returncode == 1
    assert el_larq_here("zoo", "fetch", "tiny").returncode == 0
    assert releases["asked"][1][1] == "bytes=50000-"
    assert cached() == ["tiny_weights.h5", "tiny_weights.h5.pin.json"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"content": b"something else"}, "tiny_weights.h5: its SHA-256 is .*, but larq/zoo .* says .*; it was not kept"),
        ({"length": 10**9}, "1000000000 bytes are too many for the weights of tiny; nothing was downloaded"),
        ({"to": "https://example.com/file"}, "refused https://example.com/file: files are only downloaded from github.com"),
        ({"endless": True}, "more than [0-9]* bytes are too many for the weights of tiny; nothing was kept"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_answer_is_one_line_and_nothing_is_kept(
    el_larq_here: Command, releases: dict[str, Any], answer: dict[str, Any], message: str
) -> None:
    releases.update(answer)
    done = el_larq_here("zoo", "fetch", "tiny")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert re.search(message, line), line
    assert cached() == []


def test_without_a_network_a_copy_is_taken(el_larq_here: Command, tiny: Files, releases: dict[str, Any], tmp_path: Path) -> None:
    releases["to"] = "http://127.0.0.1:9/nowhere"
    done = el_larq_here("zoo", "fetch", "tiny")
    assert done.returncode == 1
    assert "the host cannot be reached" in done.stderr
    assert "--from-file" in done.stderr
    asked = len(releases["asked"])
    done = el_larq_here("zoo", "fetch", "tiny", "--from-file", tiny.top)
    assert done.returncode == 0, done.stderr
    assert "(as published)" in done.stdout
    assert len(releases["asked"]) == asked
    assert "1: No such file" in el_larq_here("zoo", "fetch", "quicknet", "--from-file", tmp_path / "1").stderr


def test_a_copy_of_another_published_file_is_named(el_larq_here: Command, tiny: Files) -> None:
    done = el_larq_here("zoo", "fetch", "tiny", "--from-file", tiny.notop)
    assert done.returncode == 2
    assert (
        f"{tiny.notop}: is Larq Zoo's tiny_weights_notop.h5 (tiny, without the classifier); zoo:tiny needs tiny_weights.h5"
        in done.stderr
    )
    done = el_larq_here("zoo", "fetch", "quicknet", "--from-file", tiny.top)
    assert "is Larq Zoo's tiny_weights.h5 (tiny); zoo:quicknet needs quicknet-v1.0/quicknet_weights.h5" in done.stderr
    done = el_larq_here("zoo", "fetch", "tiny", "--from-file", tiny.other)
    assert done.returncode == 1
    assert f"{tiny.other}: its SHA-256 is {hash_file(tiny.other)}, but larq/zoo 2.3.3 says" in done.stderr
    assert cached() == []
    done = el_larq_here("zoo", "fetch", "tiny", "--no-top", "--from-file", tiny.notop)
    assert done.returncode == 0, done.stderr
    assert cached() == ["tiny_weights_notop.h5", "tiny_weights_notop.h5.pin.json"]
    assert find_weights("tiny") is None


@pytest.mark.parametrize("downloaded", [False, True])
def test_other_weights_need_their_sum_and_must_fit(
    el_larq_here: Command, tiny: Files, releases: dict[str, Any], tmp_path: Path, downloaded: bool
) -> None:
    """The files here are not the published ones, so their layers are compared with the network's before they are kept."""

    def fetch(file: Path, sha256: str) -> Any:
        releases["content"] = file.read_bytes()
        return el_larq_here("zoo", "fetch", "tiny", "--sha256", sha256, *(() if downloaded else ("--from-file", file)))

    assert fetch(tiny.top, hash_file(tiny.top)).returncode == 0
    named = weights_file("tiny").asset.address if downloaded else None
    for file, message in (
        (
            tiny.other,
            "not the weights of tiny: its layer 9, stage1_block2_conv, has weights of shape 3x3x32x32, but",
        ),
        (tiny.notop, "has weights for 23 layers, but tiny has 24; the first one without is logits (a file without the top"),
    ):
        done = fetch(file, hash_file(file))
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert f"{named or file}: " in line
        assert message in line
        assert line.endswith("; nothing was kept")
        assert cached() == ["tiny_weights.h5", "tiny_weights.h5.pin.json"]
    done = fetch(tiny.other, "0" * 64)
    assert "but --sha256 says 000" in done.stderr
    assert "'abc' is not a SHA-256" in fetch(tiny.other, "abc").stderr

    tiny.model.save_weights(tmp_path / "trained.h5")
    with open(tmp_path / "trained.h5", "ab") as file:
        file.write(b"\0")  # another file of the same weights
    done = fetch(tmp_path / "trained.h5", hash_file(tmp_path / "trained.h5"))
    assert done.returncode == 0, done.stderr
    assert "(as given with --sha256)" in done.stdout
    assert cached() == ["tiny_weights.h5", "tiny_weights.h5.pin.json"]
    listed = {entry["name"]: entry["here"] for entry in json.loads(el_larq_here("zoo", "list", "--json").stdout)}
    assert (listed["tiny"], listed["quicknet"]) == ("other weights", "no")
    releases["content"] = tiny.top.read_bytes()
    assert fetch_weights("tiny").published


def test_wrong_uses(el_larq_here: Command) -> None:
    for arguments, message in (
        (("fetch", "quiknet"), "unknown network of Larq Zoo 'quiknet'; did you mean quicknet"),
        (("fetch",), "Missing argument 'NAME...'"),
        (("fetch", "quicknet", "birealnet", "--sha256", "0" * 64), "--from-file and --sha256 apply to one file"),
        (("path", "resnet18"), "unknown network of Larq Zoo 'resnet18'"),
    ):
        done = el_larq_here("zoo", *arguments)
        assert done.returncode == 2
        assert message in done.stderr


def test_what_is_published_of_the_fourteen() -> None:
    """The sums are compared with those in Larq Zoo's sources, as collected when its definitions were written."""
    files = [weights_file(name, top=top) for name in ZOO for top in (True, False)]
    assert len({file.sha256 for file in files}) == len({file.name for file in files}) == 28
    for file in files:
        assert len(file.sha256) == 64
        assert file.asset.address == f"https://github.com/larq/zoo/releases/download/{file.release}/{file.name}"
        assert file.name.endswith("_weights.h5" if file.top else "_weights_notop.h5")
        assert file.asset.max_bytes > 4 * file._parameters  # pyright: ignore[reportPrivateUsage]
    assert weights_file("quicknet").sha256 == "8aba9e4e5f8d342faef04a0b2ae8e562da57dbb7d15162e8b3e091c951ba756c"
    assert weights_file("binary_alexnet", top=False).release == "binary_alexnet-v0.2.1"


def test_the_note_of_a_file_without_the_file_is_nothing(tiny: Files) -> None:
    fetch_weights("tiny", from_file=tiny.top)
    found = find_weights("tiny")
    assert found is not None
    shutil.move(found.path, found.path.with_suffix(".moved"))
    assert find_weights("tiny") is None
