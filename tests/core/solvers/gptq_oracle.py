"""GPTQ as its paper writes it: column by column in float64, with the Cholesky factor of the inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.schemes.grid import Grid


def literal_gptq(weight: Tensor, hessian: Tensor, damping: float, grid: Grid, *, fit: bool) -> Tensor:
    """Codes [rows, columns] with the columns as they lie; `fit`: each group when it is reached, else as it is."""
    work = weight.double().clone()
    columns = work.shape[1]
    damped = hessian.double() + damping * hessian.double().diagonal().mean() * torch.eye(columns, dtype=torch.float64)
    inverse = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    codes = []
    for column in range(columns):
        if fit and column % grid.span == 0:
            span = slice(column, column + grid.span)
            grid.fit(column, work[:, span].float(), 1 / inverse.diagonal()[span].float() ** 2)
        code = grid.encode(column, work[:, column : column + 1].float())
        codes.append(code)
        error = (work[:, column] - grid.decode(column, code)[:, 0].double()) / inverse[column, column]
        work[:, column:] -= error[:, None] * inverse[column, column:]
    return torch.cat(codes, 1)
