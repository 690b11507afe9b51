"""Budgets as people say them."""

from __future__ import annotations

import pytest

from benchvise.core.errors import RecipeError
from benchvise.core.protocol.budget import Budget, parse_budget


@pytest.mark.parametrize(
    ("words", "budget"),
    [
        ("4.25bpw", Budget("bits_per_weight", 4.25)),
        ("6GB", Budget("bytes", 6e9)),
        ("6 gib", Budget("bytes", 6 * 2**30)),
        ("900MB", Budget("bytes", 9e8)),
        ("6GB@8192", Budget("memory", 6e9, 8192)),
        ("12ms", Budget("latency", 12.0)),
        ("1.5e-3ms", Budget("latency", 0.0015)),
        ("kl=0.02", Budget("kl", 0.02)),
        ("KL = .02", Budget("kl", 0.02)),
    ],
)
def test_words_and_back(words: str, budget: Budget) -> None:
    assert parse_budget(words) == budget
    assert parse_budget(budget.words) == budget


@pytest.mark.parametrize("words", ["", "6", "GB", "-4bpw", "4 apples", "kl=", "kl=0.1GB", "4bpw@12", "infGB", "nanms"])
def test_what_is_no_budget_is_refused_with_examples(words: str) -> None:
    with pytest.raises(RecipeError, match="is no budget") as refusal:
        parse_budget(words)
    assert "4.25bpw" in refusal.value.remedy


@pytest.mark.parametrize("words", ["0bpw", "kl=0", "0GB", "0.0ms"])
def test_nothing_is_refused_by_name(words: str) -> None:
    with pytest.raises(RecipeError, match="leaves nothing"):
        parse_budget(words)
