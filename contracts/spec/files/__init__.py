"""The files that users write, as pydantic models: checks, what editors show and the reference come from them."""
