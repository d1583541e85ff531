"""Pages are read, and their commands given, in a clone of a reader's."""

from tests.support.readers import clone, environment

__all__ = ["clone", "environment"]
