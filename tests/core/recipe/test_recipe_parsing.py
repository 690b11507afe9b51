from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchvise.core.errors import RecipeError
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment, load_recipe, parse_recipe
from benchvise.core.settings import settled

RULE = "targets: [linears], scheme: {method: integer, bits: 4}"


def parse(rules: str, head: str = "benchvise: 1\n") -> Recipe:
    return parse_recipe(f"{head}rules:\n- {{{rules}}}\n", where="my.yaml")


def refused(text: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, where="my.yaml")
    assert caught.value.where.startswith("my.yaml")
    assert caught.value.remedy
    return caught.value


def refused_rule(rules: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        parse(rules)
    assert caught.value.where.startswith("my.yaml, rule 1")
    assert caught.value.remedy
    return caught.value


def schemes() -> st.SearchStrategy[Scheme]:
    integer = st.builds(
        Integer,
        bits=st.integers(2, 8),
        symmetric=st.booleans(),
        granularity=st.sampled_from(["tensor", "channel", "group"]),
        group_size=st.integers(2, 1 << 20),
        indivisible=st.sampled_from(["refuse", "divisor"]),
    )
    sparse = st.builds(
        Sparse,
        criterion=st.sampled_from(["fraction", "threshold"]),
        fraction=st.floats(0, 1),
        scope=st.sampled_from(["layer", "global"]),
        threshold=st.floats(0, 1e30),
    )
    return st.one_of(integer.map(settled), sparse.map(settled), st.just(Keep()))


def solvers(scheme: Scheme) -> st.SearchStrategy[Nearest]:
    if "scale" not in scheme.capabilities:
        return st.just(Nearest())
    clipping = st.builds(Nearest, st.booleans(), st.integers(2, 200), st.floats(0.1, 0.99))
    return clipping.map(settled)


treatments = schemes().flatmap(lambda scheme: solvers(scheme).map(lambda solver: Treatment(scheme, solver)))
patterns = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12), max_size=3)
rules = st.builds(Rule, patterns.filter(bool).map(tuple), treatments, patterns.map(tuple))
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
recipes = st.builds(Recipe, st.lists(rules, max_size=3).map(tuple), words, words, st.integers(0, 2**63 - 1))


@given(recipes)
def test_yaml_and_back_is_the_same_recipe(recipe: Recipe) -> None:
    again = parse_recipe(recipe.to_yaml(), where="x")
    assert again == recipe
    assert again.digest == recipe.digest
    assert again.to_yaml() == recipe.to_yaml()


@given(recipes, words)
def test_the_digest_is_of_rules_and_seed_alone(recipe: Recipe, name: str) -> None:
    assert Recipe(recipe.rules, name, name, recipe.seed).digest == recipe.digest
    assert Recipe(recipe.rules, "", "", recipe.seed ^ 1).digest != recipe.digest
    assert Recipe((*recipe.rules, Rule(("all",), KEEP)), seed=recipe.seed).digest != recipe.digest


def test_a_short_form_is_understood() -> None:
    recipe = parse("targets: linears, ignore: '*.down', scheme: integer")
    assert recipe.rules == (Rule(("linears",), Treatment(Integer()), ("*.down",)),)


def test_numbers_without_a_point_are_numbers() -> None:
    recipe = parse("targets: [all], scheme: {method: sparse, criterion: threshold, threshold: 1e-3}")
    assert recipe.rules[0].treatment.scheme == Sparse(criterion="threshold", threshold=0.001)


def test_idle_settings_do_not_change_the_treatment() -> None:
    recipe = parse("targets: [all], scheme: {method: integer, granularity: channel, group_size: 32}")
    assert recipe.rules[0].treatment == Treatment(Integer(granularity="channel"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a mapping with the key 'rules'"),
        ("- 1", "a mapping with the key 'rules'"),
        ("text", "a mapping with the key 'rules'"),
        ("benchvise: 1", "'rules' must be a list"),
        ("benchvise: 1\nrules: {}", "'rules' must be a list"),
        ("rules: []", "version is None"),
        ("benchvise: 2\nrules: []", "version is 2"),
        ("benchvise: '1'\nrules: []", "version is '1'"),
        ("benchvise: 1\nruls: []", "Unknown key 'ruls'"),
        ("benchvise: 1\n3: 4\nrules: []", "Unknown key '3'"),
        ("benchvise: 1\nseed: -1\nrules: []", "'seed' must be a whole number"),
        ("benchvise: 1\nseed: 1.5\nrules: []", "'seed' must be a whole number"),
        ("benchvise: 1\nseed: true\nrules: []", "'seed' must be a whole number"),
        ("benchvise: 1\nname: 3\nrules: []", "'name' must be text"),
        ("benchvise: 1\nrules: [1]", "A rule must be a mapping, not 1"),
        ("a: [", "not valid YAML"),
        ("a: 'x", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("when: 2024-13-45", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("seed: " + "9" * 5000, "not valid YAML"),
        ("benchvise: 1\nrules: []\nrules: []", "the key 'rules' is twice"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("!!map [a, b]", "not valid YAML"),
        ("? [a, b]\n: 1", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_told_why(text: str, says: str) -> None:
    assert says in refused(text).what


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("scheme: integer", "A rule needs 'targets'"),
        ("targets: [], scheme: integer", "A rule needs 'targets'"),
        ("targets: [3], scheme: integer", "'targets' must be a list of names"),
        ("targets: [''], scheme: integer", "'targets' must be a list of names"),
        ("targets: {a: b}, scheme: integer", "'targets' must be a list of names"),
        ("targets: [a], ignore: 3, scheme: integer", "'ignore' must be a list of names"),
        ("targets: [a]", "The scheme must be a mapping with the key 'method'"),
        ("targets: [a], scheme: 3", "The scheme must be a mapping"),
        ("targets: [a], scheme: {bits: 4}", "The scheme must be a mapping"),
        ("targets: [a], scheme: {method: [1]}", "There is no scheme '[1]'"),
        ("targets: [a], scheme: {method: null}", "There is no scheme 'None'"),
        ("targets: [a], scheme: integr", "There is no scheme 'integr'"),
        ("targets: [a], scheme: integer, solver: gptq", "There is no solver 'gptq'"),
        ("targets: [a], scheme: integer, solver: null", "The solver must be a mapping"),
        ("targets: [a], scheme: {method: integer, bts: 4}", "unknown setting 'bts'. Did you mean 'bits'?"),
        ("targets: [a], scheme: {method: integer, bits: four}", "'bits' must be a number, not 'four'"),
        ("targets: [a], scheme: {method: integer, bits: 1}", "below its least value 2"),
        ("targets: [a], scheme: {method: integer, bits: 9}", "above its greatest value 8"),
        ("targets: [a], scheme: {method: integer, bits: 4, bits: 8}", "the key 'bits' is twice"),
        ("targets: [a], scheme: {method: sparse, fraction: 1.5}", "above its greatest value 1"),
        ("targets: [a], scheme: {method: keep, bits: 4}", "unknown setting 'bits'"),
        ("targets: [a], scheme: sparse, solver: {method: nearest, clip_search: true}", "does not apply to the scheme"),
        ("targts: [a], scheme: integer", "Unknown key 'targts'"),
    ],
)
def test_a_rule_that_is_wrong_is_told_why_and_where(rule: str, says: str) -> None:
    if "twice" in says:
        assert says in refused(f"benchvise: 1\nrules:\n- {{{rule}}}\n").what
    else:
        assert says in refused_rule(rule).what


def test_unknown_keys_get_a_suggestion() -> None:
    assert refused("benchvise: 1\nruls: []").remedy == "Did you mean 'rules'?"
    assert refused_rule("targts: [a], scheme: integer").remedy == "Did you mean 'targets'?"
    assert refused_rule("targets: [a], scheme: integr").remedy == "Did you mean 'integer'?"


def test_the_line_of_broken_yaml_is_named() -> None:
    assert refused("benchvise: 1\nrules:\n- a: [").where.startswith("my.yaml, line ")


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), st.lists, max_leaves=8)
)
def test_no_value_in_place_of_rules_escapes_as_a_fault(value: object) -> None:
    for mapping in ({"benchvise": 1, "rules": value}, {"benchvise": 1, "rules": [value]}):
        with contextlib.suppress(RecipeError):
            parse_recipe(yaml.safe_dump(mapping), where="x")


@given(st.text(max_size=60))
def test_no_text_escapes_as_a_fault(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(text, where="x")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00rules"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "recipe.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert caught.value.where.startswith(str(file))
    assert "--preset" in caught.value.remedy


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path)


def test_a_file_is_read_as_written(tmp_path: Path) -> None:
    recipe = Recipe((Rule(("linears",), Treatment(Integer(3, group_size=64), Nearest(clip_search=True))),), "mine")
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(file) == recipe
