"""The fold: published tables as the union of everything that was ever seen, whatever the order."""

from __future__ import annotations

from transforms.converge.transform import ConvergeIntoTable, Converged

__all__ = ["ConvergeIntoTable", "Converged"]
