"""The HTTP side of a destination: batches in, what became of each event out. Retries, rate, back-pressure and outages stay in here.

``sink`` is the way in; ``wire`` says what is sent, ``client`` and ``dialects`` what an answer means; ``pacing`` says when a request
may leave.
"""
