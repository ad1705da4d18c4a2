"""How right, how close to float, how sure: from raw measurements to numbers with intervals."""
