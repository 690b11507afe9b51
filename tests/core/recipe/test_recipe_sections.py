"""What a recipe holds beside its rules: calibration, transforms, polish."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchvise.core.errors import RecipeError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.registry import TRANSFORMS
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest, Need, Solver
from benchvise.core.methods.sparse import Sparse
from benchvise.core.methods.surgery import Surgery
from benchvise.core.methods.transform import Transform
from benchvise.core.methods.tuning import Tuning
from benchvise.core.recipe.editing import set_calibration, set_surgery, set_transforms, set_tuning, treat
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment, parse_recipe
from benchvise.core.settings import setting, settled
from tests.core.recipe.network_samples import checkpoint

INT4 = Treatment(Integer(4, granularity="channel"))
RULES = (Rule(("linears",), INT4),)
HEAD = "benchvise: 1\nrules: []\n"


@dataclass(frozen=True)
class Stretch(Transform):
    key: ClassVar[str] = "stretch"
    title: ClassVar[str] = "Stretch"
    summary: ClassVar[str] = "Stretches."
    source: ClassVar[str] = "this test"
    reach: ClassVar[Literal["network", "block"]] = "network"

    strength: float = setting(0.5, title="Strength", help="How much.", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class Probe(Stretch):
    key: ClassVar[str] = "probe"
    reach: ClassVar[Literal["network", "block"]] = "block"


@dataclass(frozen=True)
class Picky(Solver):
    """Serves schemes with scales only, and has to see inputs."""

    key: ClassVar[str] = "picky"

    def needs(self, scheme: Scheme) -> Need:  # noqa: ARG002
        return "inputs"

    def refusal(self, scheme: Scheme) -> str:
        return "" if "scale" in scheme.capabilities else f"picky needs scales, which {scheme.title} has not"


@pytest.fixture
def transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSFORMS, "stretch", Stretch)
    monkeypatch.setitem(TRANSFORMS, "probe", Probe)


def refused(text: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, where="my.yaml")
    assert caught.value.where.startswith("my.yaml")
    assert caught.value.remedy
    return caught.value


calibrations = st.builds(
    Calibration,
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    st.integers(1, 65536),
    st.integers(2, 1 << 20),
    st.sampled_from(["compressed", "original"]),
)
polishes = st.lists(
    st.builds(Polish, st.integers(1, 100_000), st.integers(1, 4096), st.floats(1e-8, 1.0)), max_size=2
).map(tuple)
surgeries = st.lists(
    st.frozensets(st.integers(0, 99), max_size=4).map(lambda blocks: DropBlocks(tuple(sorted(blocks)))), max_size=2
).map(tuple)
stretches = st.one_of(st.builds(kind, st.floats(0, 1)) for kind in (Stretch, Probe))
activations = st.builds(
    Activations,
    st.sampled_from(["int8", "fp8"]),
    st.sampled_from(["dynamic", "static"]),
    st.sampled_from(["minmax", "moving_average", "percentile", "mse", "entropy"]),
    st.floats(50, 100),
    st.floats(0, 0.999),
).map(settled)
with_inputs = st.builds(lambda inputs: (Rule(("linears",), replace(INT4, activations=inputs)),), activations)


@given(with_inputs, calibrations, st.lists(stretches, max_size=3).map(tuple), surgeries, polishes)
def test_yaml_and_back_keeps_every_section(
    rules: tuple[Rule, ...],
    calibration: Calibration,
    stretched: tuple[Transform, ...],
    surgery: tuple[Surgery, ...],
    tuning: tuple[Tuning, ...],
) -> None:
    recipe = Recipe(rules, "name", "words", 3, calibration, stretched, surgery, tuning)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TRANSFORMS, "stretch", Stretch)
        patch.setitem(TRANSFORMS, "probe", Probe)
        again = parse_recipe(recipe.to_yaml(), where="x")
    assert again == recipe
    assert again.digest == recipe.digest


def test_sections_at_their_defaults_are_left_out() -> None:
    assert set(Recipe(RULES).to_mapping()) == {"benchvise", "seed", "rules"}
    mapping = Recipe(RULES, calibration=Calibration(windows=32)).to_mapping()
    assert mapping["calibration"] == {"windows": 32}


@pytest.mark.usefixtures("transforms")
def test_every_section_counts_in_the_digest() -> None:
    recipe = Recipe(RULES)
    others = [
        replace(recipe, calibration=Calibration(windows=32)),
        replace(recipe, transforms=(Stretch(),)),
        replace(recipe, transforms=(Probe(),)),
        replace(recipe, transforms=(Stretch(), Probe())),
        replace(recipe, transforms=(Probe(), Stretch())),
        replace(recipe, tuning=(Polish(),)),
        replace(recipe, surgery=(DropBlocks((1,)),)),
    ]
    assert len({recipe.digest, *(other.digest for other in others)}) == 1 + len(others)


@pytest.mark.usefixtures("transforms")
@pytest.mark.parametrize(
    ("section", "says", "where"),
    [
        ("calibration: 3", "'calibration' must be a mapping, not 3", "my.yaml"),
        ("calibration: null", "'calibration' must be a mapping, not None", "my.yaml"),
        ("calibration: {window: 3}", "unknown setting 'window'. Did you mean 'windows'?", "my.yaml, calibration"),
        ("calibration: {windows: 0}", "below its least value 1", "my.yaml, calibration"),
        ("calibration: {text: 3}", "'text' must be text, not 3", "my.yaml, calibration"),
        ("calibration: {inputs: both}", "'inputs' cannot be 'both'", "my.yaml, calibration"),
        ("polish: true", "'polish' must be a mapping, not True", "my.yaml"),
        ("polish: {step: 3}", "unknown setting 'step'. Did you mean 'steps'?", "my.yaml, polish"),
        ("polish: {learning_rate: 2}", "above its greatest value 1", "my.yaml, polish"),
        ("transforms: stretch", "'transforms' must be a list", "my.yaml"),
        ("transforms: [{strength: 0.5}]", "The transform must be a mapping with the key 'method'", "my.yaml"),
        ("transforms: [strech]", "There is no transform 'strech'", "my.yaml"),
        ("transforms: [{method: stretch, strngth: 1}]", "Did you mean 'strength'?", "my.yaml, transform stretch"),
        ("transfrms: []", "Unknown key 'transfrms'", "my.yaml"),
    ],
)
def test_a_section_that_is_wrong_is_told_why_and_where(section: str, says: str, where: str) -> None:
    error = refused(HEAD + section)
    assert says in error.what
    assert error.where == where


@pytest.mark.usefixtures("transforms")
def test_the_nearest_transform_is_suggested() -> None:
    assert refused(f"{HEAD}transforms: [strech]").remedy == "Did you mean 'stretch'?"


def test_broken_activations_name_their_rule() -> None:
    rule = "benchvise: 1\nrules:\n- {targets: [all], scheme: integer, activations: {format: int4}}\n"
    error = refused(rule)
    assert "'format' cannot be 'int4'" in error.what
    assert error.where == "my.yaml, rule 1, activations"


def test_a_solver_that_cannot_serve_the_scheme_is_refused_before_anything_runs() -> None:
    recipe = Recipe((*RULES, Rule(("role:attention.*",), Treatment(Sparse(), Picky()))))
    with pytest.raises(RecipeError, match="picky needs scales, which Sparse has not") as caught:
        make_plan(checkpoint(), recipe)
    assert caught.value.where == "rule 2, solver"
    assert caught.value.remedy


@pytest.mark.usefixtures("transforms")
@pytest.mark.parametrize(
    ("recipe", "needed"),
    [
        (Recipe(RULES), False),
        (Recipe(RULES, calibration=Calibration(windows=3)), False),
        (Recipe(RULES, transforms=(Stretch(),)), False),
        (Recipe(RULES, transforms=(Stretch(), Probe())), True),
        (Recipe(RULES, tuning=(Polish(),)), True),
        (Recipe((Rule(("linears",), replace(INT4, solver=Picky())),)), True),
        (Recipe((Rule(("linears",), replace(INT4, solver=Nearest(True, importance=True))),)), True),
        (Recipe((Rule(("linears",), replace(INT4, activations=Activations())),)), False),
        (Recipe((Rule(("linears",), replace(INT4, activations=Activations(mode="static"))),)), True),
    ],
)
def test_a_plan_knows_whether_it_reads_calibration_text(recipe: Recipe, needed: bool) -> None:
    assert recipe.needs_calibration == needed
    named = replace(checkpoint(), config={"architectures": ["LlamaForCausalLM"]})
    assert make_plan(named, recipe).calibration == (recipe.calibration if needed else None)


def test_a_rule_that_decides_over_nothing_needs_no_text() -> None:
    recipe = Recipe((Rule(("linears",), replace(INT4, solver=Picky())), *RULES))
    assert make_plan(checkpoint(), recipe).calibration is None


def test_calibration_in_words() -> None:
    assert Calibration().in_words == "128 samples of 256 tokens from the shipped text"
    assert Calibration("a.txt", 1, 2048).in_words == "1 sample of 2,048 tokens from a.txt"


@pytest.mark.usefixtures("transforms")
def test_edits_of_one_section_keep_the_others() -> None:
    recipe = Recipe(RULES, "preset", "words", 7)
    recipe = set_calibration(recipe, Calibration("mine.txt"))
    assert recipe.name == "preset"  # the text is the person's, the methods are still the preset's
    recipe = set_transforms(recipe, [Stretch(), Probe()])
    assert (recipe.name, recipe.description) == ("", "")
    recipe = set_tuning(recipe, [Polish(steps=3)])
    linear = next(layer for layer in checkpoint().layers if layer.kind == "linear")
    recipe = treat(recipe, [linear], [Treatment(Integer(8))])
    assert recipe.calibration == Calibration("mine.txt")
    assert recipe.transforms == (Stretch(), Probe())
    assert recipe.tuning == (Polish(steps=3),)
    assert recipe.seed == 7
    assert set_surgery(recipe, [DropBlocks((1,))]).surgery == (DropBlocks((1,)),)


def test_the_key_of_older_recipes_is_read_as_a_tuning_step() -> None:
    recipe = parse_recipe(HEAD + "polish: {steps: 32}\n", where="x")
    assert recipe.tuning == (Polish(steps=32),)
    assert recipe.to_mapping()["tuning"] == [
        {"method": "polish", "steps": 32, "batch_windows": 8, "learning_rate": 1e-3}
    ]
    assert "polish" not in recipe.to_mapping()
    assert refused(HEAD + "polish: true\n")


def test_blocks_are_written_as_a_list_and_read_as_one_or_as_ranges() -> None:
    listed = parse_recipe(HEAD + "surgery: [{method: drop_blocks, blocks: [5, 3]}]\n", where="x")
    ranged = parse_recipe(HEAD + "surgery: [{method: drop_blocks, blocks: '3, 5'}]\n", where="x")
    assert listed.surgery == ranged.surgery == (DropBlocks((3, 5)),)
    assert listed.to_mapping()["surgery"] == [{"method": "drop_blocks", "blocks": [3, 5]}]


@pytest.mark.parametrize("blocks", ["[3, 3]", "[-1]", "[1.5]", "[true]", "3", "'3-'", "'a'", "'1-3, 2'"])
def test_blocks_that_are_no_list_of_distinct_numbers_are_refused(blocks: str) -> None:
    assert "'blocks'" in refused(HEAD + f"surgery: [{{method: drop_blocks, blocks: {blocks}}}]\n").what
