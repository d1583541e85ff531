"""A CDP endpoint to develop against: the ingestion API of Segment and of RudderStack, a ledger of what arrived, faults on demand.

Begin at ``server.py`` for what is served where, ``dialects.py`` for the two products' rules, ``ledger.py`` for what is kept. Needs
the extra ``cdp``; ``component.py``, which the stack imports, does not.
"""
