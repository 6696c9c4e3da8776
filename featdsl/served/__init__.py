"""The serving log: a sample of the served values as Parquet files, to train on and to compare with training."""
