"""Where a value stands in a payload."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class PayloadPath:
    """Where a value stands in a record. ``steps`` are keys of nested objects; with ``envelope`` they start at the SDK batch."""

    steps: tuple[str, ...]
    envelope: bool = False

    @classmethod
    def parse(cls, text: str) -> PayloadPath:
        r"""Read ``a.b.c``; ``^.a`` is the envelope's; a dot inside a key is written ``\.``."""
        envelope = text.startswith("^.")
        steps = tuple(step.replace("\\.", ".") for step in re.split(r"(?<!\\)\.", text[2:] if envelope else text))
        if not all(steps):
            raise ValueError(f"{text!r} is not a path such as context.page.url")
        return cls(steps, envelope)

    def is_below(self, other: PayloadPath) -> bool:
        """Whether it leads on from where the other one ends."""
        return len(self.steps) > len(other.steps) and self.steps[: len(other.steps)] == other.steps

    def __str__(self) -> str:
        return ("^." if self.envelope else "") + ".".join(self.steps)
