"""Sound events of the website, one of each kind: the ground of mutations."""

from __future__ import annotations

import json
from typing import Any

_CONTEXT: dict[str, Any] = {
    "ip": "203.0.113.7",
    "userAgent": "Mozilla/5.0",
    "locale": "de-DE",
    "page": {"url": "https://shop.example.com/boots?size=44", "title": "Stiefel – schön"},
    "campaign": {"name": "autumn", "source": "mail", "medium": "email", "term": "boots", "content": "a"},
    "library": {"name": "analytics.js", "version": "2.11.1"},
    "device": {"id": "d-1"},
    "consent": {"categoryPreferences": {"analytics": True, "ads": False}},
}


def _event(kind: str, number: int, **fields: Any) -> bytes:
    event = {
        "messageId": f"m-{number:04d}",
        "type": kind,
        "anonymousId": f"a-{number}",
        "originalTimestamp": f"2026-11-02T10:00:{number:02d}.123Z",
        "sentAt": f"2026-11-02T10:00:{number:02d}.200Z",
        "receivedAt": f"2026-11-02T10:00:{number:02d}.400Z",
        "context": _CONTEXT,
        **fields,
    }
    return json.dumps({k: v for k, v in event.items() if v is not None}, ensure_ascii=False, separators=(",", ":")).encode()


BASE_EVENTS: tuple[bytes, ...] = (
    _event("track", 1, userId="u-1", event="Order Completed", properties={"orderId": "O-1", "total": 49.9,
    "items": [{"sku": "B", "n": 1}]}),
    _event("track", 2, event=None, name="Viewed", properties={}, channel="web", writeKey="w"),
    _event("identify", 3, userId="u-3", traits={"email": "ä@example.com", "age": 44}),
    _event("identify", 4, traits={"plan": "pro"}, integrations={"All": True}),
    _event("page", 5, originalTimestamp=None, timestamp="2026-11-02T10:00:05Z", name="Home"),
    _event("screen", 6, originalTimestamp=1_762_077_606, sentAt=1_762_077_606_200, receivedAt=1_762_077_606_400_000),
    _event("group", 7, userId="u-7", groupId="g-1", schemaVersion=2),
    _event("alias", 8, userId="u-8", previousId="a-8", anonymousId=None, schemaVersion="1"),
    _event("track", 9, messageId=None, event="Signed Up", userId="undefined", context={"traffic": "human", "ip": None}),
    _event("page", 10, context=None, projectId="p-1", receivedAt=None),
)  # fmt: skip
