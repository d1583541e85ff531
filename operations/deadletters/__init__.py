"""Dead letters for people: select, list, explain, count, export and close them."""
