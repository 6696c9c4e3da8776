"""Apply a Feast repository and write what `get_historical_features` returns, as Parquet files. Runs in a Python that has Feast.

`python feast_answers.py REPOSITORY SPINE.parquet FOLDER REQUESTS`, where the requests are JSON: a name with a list of features, or with
the name of a service.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main(repository: str, spine: str, folder: str, requests: str) -> None:
    """Write one file for each request, and `times.parquet` with nothing but the spine."""
    import pandas as pd
    from feast import FeatureStore

    os.chdir(repository)
    subprocess.run([str(Path(sys.executable).with_name("feast")), "apply"], check=True)
    store = FeatureStore(repo_path=".")
    rows = pd.read_parquet(spine)
    for name, wanted in json.loads(requests).items():
        features = store.get_feature_service(wanted) if isinstance(wanted, str) else wanted
        full = isinstance(wanted, str) and wanted.endswith("_full")
        job = store.get_historical_features(entity_df=rows.copy(), features=features, full_feature_names=full)
        job.to_df().to_parquet(Path(folder) / f"{name}.parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])
