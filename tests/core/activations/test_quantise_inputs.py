"""Rounding inputs to 8 bits; the compressed-tensors library is the oracle."""

from __future__ import annotations

import pytest
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import compute_dynamic_scales_and_zp

from benchvise.core.activations.quantise import quantised, token_scales
from benchvise.core.methods.activations import Activations

DYNAMIC = [Activations("int8"), Activations("fp8")]
STATIC = [Activations("int8", "static"), Activations("fp8", "static")]


def library_args(settings: Activations) -> QuantizationArgs:
    return QuantizationArgs(
        num_bits=8,
        type="int" if settings.format == "int8" else "float",
        symmetric=True,
        strategy="token" if settings.mode == "dynamic" else "tensor",
        dynamic=settings.mode == "dynamic",
    )


def samples(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[2, 7, 33] with a large value, halves of steps, a token of zeros and one of a single sign."""
    torch.manual_seed(0)
    x = torch.randn(2, 7, 33) * torch.logspace(-3, 3, 7)[:, None]
    x[0, 0, 3] = 80.0
    x[0, 1] = 0.0
    x[1, 2] = x[1, 2].abs()
    x[1, 3] = torch.arange(33) * 0.5 - 8
    return x.to(dtype)


@pytest.mark.parametrize("settings", DYNAMIC, ids=lambda s: s.tag)
def test_dynamic_as_the_library_computes_it(settings: Activations) -> None:
    x, args = samples(), library_args(settings)
    scale, zero_point = compute_dynamic_scales_and_zp(x, args, torch.nn.Module())
    assert torch.equal(token_scales(settings, x), scale)
    assert torch.equal(quantised(settings, x), fake_quantize(x, scale, zero_point, args))


@pytest.mark.parametrize("scale", [1e-4, 0.013, 3.0])
@pytest.mark.parametrize("settings", STATIC, ids=lambda s: s.tag)
def test_static_as_the_library_computes_it(settings: Activations, scale: float) -> None:
    x, step = samples(), torch.tensor([scale])
    expected = fake_quantize(x, step, torch.zeros(1, dtype=torch.int8), library_args(settings))
    assert torch.equal(quantised(settings, x, step), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("settings", DYNAMIC, ids=lambda s: s.tag)
def test_short_dtypes_are_computed_in_float32(settings: Activations, dtype: torch.dtype) -> None:
    x = samples(dtype)
    assert torch.equal(quantised(settings, x), quantised(settings, x.float()).to(dtype))


@pytest.mark.parametrize("settings", DYNAMIC, ids=lambda s: s.tag)
def test_what_is_representable_survives(settings: Activations) -> None:
    # 127.5 steps are in range, so codes up to 127 stay where the largest magnitude is 127.5.
    greatest = 127.5 if settings.format == "int8" else 448.0
    codes = torch.arange(-127, 128).float() if settings.format == "int8" else torch.tensor([1.0, -0.5, 3.5, 416.0])
    x = torch.cat([codes, torch.tensor([greatest])])[None] * 0.25
    assert torch.equal(quantised(settings, x)[:, :-1], x[:, :-1])


def test_tokens_do_not_touch_each_other() -> None:
    x = samples()
    alone = torch.stack([quantised(Activations(), row[None])[0] for row in x.reshape(-1, 33)])
    assert torch.equal(quantised(Activations(), x).reshape(-1, 33), alone)
    assert quantised(Activations(), torch.empty(0, 4)).shape == (0, 4)


def test_nan_stays_to_be_found() -> None:
    assert quantised(Activations(), torch.tensor([[1.0, torch.nan]])).isnan().all()


def test_a_scale_is_given_exactly_when_it_is_fixed() -> None:
    with pytest.raises(ValueError, match="needs"):
        quantised(Activations(mode="static"), torch.ones(1, 2))
    with pytest.raises(ValueError, match="takes no"):
        quantised(Activations(), torch.ones(1, 2), torch.ones(1))


@pytest.mark.parametrize("settings", [*DYNAMIC, *STATIC], ids=lambda s: s.tag)
def test_gradients_pass_the_rounding_where_the_scale_reaches(settings: Activations) -> None:
    x = samples()
    scale = torch.tensor([0.01]) if settings.mode == "static" else None
    moving = x.clone().requires_grad_()
    found = quantised(settings, moving, scale)
    assert torch.equal(found, quantised(settings, x, scale))
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(found, moving, upstream)
    largest = float("inf") if scale is None else 0.01 * (127.5 if settings.format == "int8" else 448.0)
    assert torch.equal(gradient, upstream * (x.abs() <= largest))
    assert scale is None or (x.abs() > largest).any()
