from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from el_larq.devices import profile_log
from el_larq.devices.measured_layers import join
from el_larq.tflite.reader import parse

DATA = Path(__file__).parents[1] / "data"
PROFILES = [
    ("profile_t1_noxnn", "t1"),
    ("profile_noxnn_binpool", "binpool"),
    ("profile_noxnn_bin4", "bin4"),
    ("profile_noxnn_float", "float"),
]


def rows_of(name: str, folder: str = "aarch64", suffix: str = "stdout") -> list[profile_log.ProfileRow]:
    return profile_log.parse((DATA / "logs" / folder / f"{name}.{suffix}").read_bytes().decode())


@pytest.mark.parametrize("folder", ["aarch64", "x86_64"])
@pytest.mark.parametrize(("log", "model"), PROFILES)
def test_a_profile_without_delegate_is_the_graph(folder: str, log: str, model: str) -> None:
    graph = parse((DATA / f"{model}.tflite").read_bytes())
    rows = rows_of(log, folder)
    layers = join(rows, graph)
    assert [layer.index for layer in layers] == list(range(len(graph.operators)))
    assert [layer.operator for layer in layers] == [operator.name for operator in graph.operators]
    assert sum(row.percent for row in rows) == pytest.approx(100, abs=0.05)
    assert sum(layer.share for layer in layers) == pytest.approx(1)
    assert {layer.bits for layer in layers if layer.operator == "LceBconv2d"} <= {1}
    assert all(layer.macs > 0 for layer in layers if layer.operator in ("LceBconv2d", "CONV_2D", "FULLY_CONNECTED"))


def test_bits_and_macs_of_known_layers() -> None:
    graph = parse((DATA / "bin4.tflite").read_bytes())
    binary = [layer for layer in join(rows_of("profile_noxnn_bin4"), graph) if layer.operator == "LceBconv2d"]
    shape = graph.operators[1].outputs[0].shape
    kernels = graph.operators[1].inputs[1]
    assert kernels is not None
    channels = graph.operators[1].options["channels_in"]
    assert binary[0].macs == shape[1] * shape[2] * kernels.shape[0] * kernels.shape[1] * kernels.shape[2] * channels
    assert binary[0].bits == 1
    assert binary[0].ms == 67.159


def test_merged_rows_of_a_delegate_count_all_their_calls() -> None:
    rows = rows_of("profile_t1")
    merged = next(row for row in rows if row.times_called == 4)
    assert merged.delegated
    assert merged.node_type == "Add (ND, F32)"
    # Its percentage counts all calls, its average one.
    assert merged.ms / sum(row.ms for row in rows) == pytest.approx(merged.percent / 100, abs=1e-3)
    layers = join(rows, parse((DATA / "t1.tflite").read_bytes()))
    assert [layer.operator for layer in layers if layer.index is not None] == ["LceQuantize", "LceBconv2d"] * 4


def test_csv_with_commas_inside_is_the_same_as_text() -> None:
    csv, text = rows_of("profile_t1", suffix="csv"), rows_of("profile_t1")
    assert [(row.node_type, row.name, row.index, row.times_called) for row in csv] == [
        (row.node_type, row.name, row.index, row.times_called) for row in text
    ]
    assert csv[0].avg_ms == 15.1318


def test_older_tables_with_a_start_column() -> None:
    text = (
        "============================== Run Order ==============================\n"
        "\t             [node type]\t  [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]\n"
        "\t                 CONV_2D\t    0.000\t    1.100\t    1.000\t 80.000%\t 80.000%\t     0.000\t        0\t[a;b/c]:0\n"
        "\t                 SOFTMAX\t    1.000\t    0.250\t    0.250\t 20.000%\t100.000%\t     0.000\t        0\t[out]\n"
        "\n============================== Top by Computation Time ==============================\n"
        "\t             [node type]\t  [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]\n"
        "\t                 CONV_2D\t    0.000\t    1.100\t    1.000\t 80.000%\t 80.000%\t     0.000\t        0\t[a;b/c]:0\n"
    )
    rows = profile_log.parse(text)
    assert [(row.node_type, row.ms, row.percent, row.index) for row in rows] == [
        ("CONV_2D", 1.0, 80.0, 0),
        ("SOFTMAX", 0.25, 20.0, None),
    ]
    assert profile_log.parse(text.replace("\n", "\r\n")) == rows


def test_a_plain_log_has_no_profile() -> None:
    assert rows_of("plain_t1") == []


@given(st.text(max_size=400))
def test_nothing_raises(text: str) -> None:
    heading = "===== Run Order =====\n\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]\n"
    profile_log.parse(heading + text)
    profile_log.parse("===== Run Order =====\nnode type, first, avg_ms, %, cdf%, mem KB, times called, name\n" + text)
