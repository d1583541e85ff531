"""The HTTP side of a destination: batches in, what became of each event out. Retries, rate, back-pressure and outages stay in here.

``sink`` is the way in; ``wire`` and ``dialects`` say what is sent and what an answer means; ``gate`` says when a request may leave.
"""
