"""Features of the flights that left New York City in 2013; one folder for each team."""
