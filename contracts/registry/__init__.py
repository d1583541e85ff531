"""A schema registry that speaks Confluent's REST API: which schema an id stands for, and how a contract is put there."""
