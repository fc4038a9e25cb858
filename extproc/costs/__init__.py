"""What an exchange costs: in dollars, by a table of prices, and in whatever else a route has counted."""
