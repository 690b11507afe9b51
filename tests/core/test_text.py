"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from benchvise.core.text import (
    amount_text,
    byte_text,
    count_text,
    decibel_text,
    duration_text,
    error_text,
    estimated_bytes,
    estimated_duration,
    kl_text,
    number_text,
    percent_text,
    plural,
    rate_text,
    rough_duration_text,
    si_text,
    whole_text,
)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        (byte_text, 0, "0 B"),
        (byte_text, 999, "999 B"),
        (byte_text, 999_600, "1.00 MB"),
        (byte_text, -1500, "−1.50 kB"),
        (byte_text, 16_060_000_000, "16.1 GB"),
        (byte_text, 140e9, "140 GB"),
        (byte_text, 3.2e18, "3200 PB"),
        (count_text, 999, "999"),
        (count_text, 260_032, "260 k"),
        (count_text, 999_700, "1.00 M"),
        (count_text, 8.03e9, "8.03 B"),
        (si_text, 0, "0"),
        (si_text, 1500, "1.5 k"),
        (si_text, 999_900, "1 M"),
        (si_text, 8.03e9, "8.03 G"),
        (si_text, -2e3, "−2 k"),
        (duration_text, 0, "0 s"),
        (duration_text, 0.04, "0.04 s"),
        (duration_text, 0.997, "1.0 s"),
        (duration_text, 3.14, "3.1 s"),
        (duration_text, 59.4, "59 s"),
        (duration_text, 59.7, "1 min 00 s"),
        (duration_text, 200, "3 min 20 s"),
        (duration_text, 3599.7, "1 h 00 min"),
        (duration_text, 7259, "2 h 01 min"),
        (duration_text, 7500, "2 h 05 min"),
        (rough_duration_text, 0, "0 s"),
        (rough_duration_text, 0.0523, "0.05 s"),
        (rough_duration_text, 203, "3 min 20 s"),
        (rough_duration_text, 5812, "1 h 37 min"),
        (kl_text, 0, "0"),
        (kl_text, 0.0182, "0.0182"),
        (kl_text, 0.000012, "1.2·10⁻⁵"),
        (kl_text, -0.000012, "−1.2·10⁻⁵"),
        (kl_text, math.inf, "∞"),
        (kl_text, math.nan, "NaN"),
        (error_text, 0, "0"),
        (error_text, 0.01234, "0.0123"),
        (error_text, 4.5e-5, "4.5·10⁻⁵"),
        (number_text, None, "—"),
        (number_text, 0.0, "0"),
        (number_text, 0.03125, "0.03125"),
        (number_text, -1.5e-7, "−1.5·10⁻⁷"),
        (number_text, 123_456.0, "1.235·10⁵"),
        (number_text, math.nan, "NaN"),
        (number_text, math.inf, "∞"),
        (number_text, -math.inf, "−∞"),
        (decibel_text, None, "exact"),
        (decibel_text, 41.257, "41.26"),
        (percent_text, 0.9837, "98.4 %"),
        (percent_text, None, "—"),
        (whole_text, 1_048_576, "1,048,576"),
        (whole_text, None, "—"),
    ],
)
def test_one_notation_for_each_quantity(text, value, expected):
    assert text(value) == expected


def test_amounts_and_rates_say_their_unit():
    assert (amount_text(12, "tokens"), amount_text(12, "bytes")) == ("12 tokens", "12 B")
    assert amount_text(1_200_000, "weights") == "1.20 M weights"
    assert (rate_text(3.1e8, "bytes"), rate_text(0.25, "layers")) == ("310 MB/s", "0.25 layers/s")
    assert rate_text(1536, "tokens") == "1.54 k tokens/s"


def test_estimates_give_their_range():
    assert estimated_bytes(4.2e9, 3.9e9, 5.1e9) == "≈ 4.20 GB (3.90 GB to 5.10 GB)"
    assert estimated_duration(203, 148, 301) == "≈ 3 min 20 s (2 min 30 s to 5 min 00 s)"


def test_one_thing_is_singular():
    assert [plural(count, "layer") for count in (0, 1, 12_000)] == ["0 layers", "1 layer", "12,000 layers"]
