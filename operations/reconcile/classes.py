"""The classes that ids are put into, and the causes within them."""

from __future__ import annotations

from contracts.encode.events import FILTERED

DELIVERED, OTHER_COPY, PENDING, REFUSED, WITHHELD, MISSING, EXTRA, DIFFERENT = (
    "delivered", "other_copy", "pending", "refused", "withheld", "missing", "extra", "different",
)  # fmt: skip
CLASSES = (DELIVERED, OTHER_COPY, PENDING, REFUSED, WITHHELD, FILTERED, MISSING, EXTRA, DIFFERENT)
ALARMS = (MISSING, EXTRA, DIFFERENT)

# Causes; of REFUSED, WITHHELD and EXTRA also the reason of the refusal or of the verdict.
NOT_YET, AFTER_EXPORT = "not_yet", "after_export"
SENT, SENT_OTHER, NEVER_SENT, WITHHELD_BEFORE = "sent", "sent_other_version", "never_sent", "withheld_before"
FIRST_SEEN, ALTERED = "first_seen", "altered"
WITHIN_HORIZON = "within_horizon"
LATE, REJECTED, NOT_VALIDATED, UNKNOWN_ID = "late", "rejected", "not_validated", "unknown_id"
