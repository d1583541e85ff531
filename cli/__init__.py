"""The command line, ``headrace``."""

import logging

# Beam warns at import of Google clients that are not installed; nobody who runs a pipeline on files needs to know.
logging.getLogger().addFilter(lambda record: "apitools" not in record.getMessage())
