"""How contracts change: what differs between two, whom it breaks, and what another system makes of a contract."""
