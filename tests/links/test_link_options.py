"""A link's file alone declares its options: what builds, checks, offers and stores options asks the link."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
import tf_keras as keras
from click.testing import CliRunner

import el_larq
from el_larq.cli.option_groups import collect_settings, given_on_command_line, link_options
from el_larq.errors import UsageError
from el_larq.links.link import Link
from el_larq.links.link_option import LinkOption
from el_larq.links.link_registry import LINKS, flagged_options
from el_larq.training.config import read_config
from el_larq.training.resume_options import check_no_contradiction


def _join(x: Any, z: Any, conv: Any, share: float = 1.0, doubled: bool = False) -> Any:
    factor = share * (2 if doubled else 1)
    return keras.layers.Add(name=f"{conv.name}_link")([z, keras.layers.Rescaling(factor, name=f"{conv.name}_share")(x)])


SHARED = Link(
    name="shared",
    summary="a constant share of the input where the shapes agree",
    join=_join,
    fits=lambda x, z: list(x) == list(z),
    declares=(
        LinkOption("share", float, "Share of the input that the shared link adds.", flag="share"),
        LinkOption("doubled", bool, "Add it twice.", flag="share_doubled"),
    ),
)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LINKS, "shared", SHARED)


def _on_command_line(*arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that a command with the group of link options gets, and the options as given."""
    found: list[dict[str, Any]] = []

    @click.command()
    @link_options
    def command(**given: Any) -> None:
        found.extend((collect_settings(given), given_on_command_line(click.get_current_context())))

    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0], found[1]


def _factors(model: keras.Model) -> set[float]:
    return {layer.scale for layer in model.layers if isinstance(layer, keras.layers.Rescaling)}


@pytest.mark.usefixtures("shared")
def test_the_command_line_offers_a_new_links_options() -> None:
    settings, _ = _on_command_line("--link", "shared", "--share", "0.25", "--share-doubled")
    assert settings == {"link": "shared", "link_options": {"share": 0.25, "doubled": True}}
    assert _on_command_line("--share", "0")[0] == {"link_options": {"share": 0.0}}
    assert _on_command_line()[0] == {}


@pytest.mark.usefixtures("shared")
def test_a_network_with_a_new_links_options_is_built() -> None:
    options = {"share": 0.25, "doubled": True}
    model = el_larq.build(
        "reactnet_a", "reactnet", link="shared", link_options=options, width=0.125, input_shape=(32, 32, 3), num_classes=10
    )
    assert _factors(model) == {0.5}
    with pytest.raises(UsageError, match="--share is an option of link shared; this method's link is 'elastic'"):
        el_larq.build("resnet18", "el", link_options={"share": 0.25})


@pytest.mark.slow
@pytest.mark.usefixtures("shared")
def test_a_new_links_options_are_trained_stored_and_compared_on_resume(tmp_path: Path) -> None:
    settings, given = _on_command_line("--link", "shared", "--share", "0.25")
    trained = el_larq.train(
        "resnet18", method="bireal", dataset="digits", image_size=8, width=0.0625, epochs=1, out=tmp_path / "run", **settings
    )
    assert _factors(trained.model) == {0.25}
    assert json.loads((trained.folder / "config.json").read_text())["link_options"] == {"share": 0.25}
    config = read_config(trained.folder)
    check_no_contradiction(config, trained.folder, given)
    with pytest.raises(UsageError, match=r"--share 0.5 contradicts .*, which was started with 0.25"):
        check_no_contradiction(config, trained.folder, {"share": 0.5})


def test_no_two_links_have_the_same_option_of_the_command_line() -> None:
    flags = [option.flag for link in LINKS.values() for option in link.declares if option.flag is not None]
    assert sorted(flags) == sorted(flagged_options())


def test_the_page_about_training_has_the_options_of_all_links() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
    missing = [flag for flag in flagged_options() if f"--{flag.replace('_', '-')}" not in page]
    assert not missing, f"docs/training.md needs a line for {missing}"
