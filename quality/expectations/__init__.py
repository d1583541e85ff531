"""A contract as a suite of Great Expectations, run beside our own judge: what both can say, both must say alike."""
