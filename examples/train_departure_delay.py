"""Train a model that foretells late departures, with and without the features of other teams.

Run in the folder of featproject.toml:

    featdsl apply --yes
    python -m examples.train_departure_delay
"""

from __future__ import annotations

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from featdsl import FeatureStore
from features.delay_prediction import departure_delay_v1

DEPARTURES = """
    SELECT tailnum, carrier, origin, dest, hour, distance, month,
           time_hour + to_minutes(minute) - INTERVAL 1 HOUR AS asked_at,
           dep_delay > 15 AS late
    FROM 'data/flights.parquet'
    WHERE dep_delay IS NOT NULL
    ORDER BY asked_at, carrier, flight
"""
"""The spine: every departure, asked about an hour before its scheduled time, and how it went."""

OWN = ["hour", "distance", "month"]
"""What the timetable says of a flight, without asking another team."""


def inputs(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return columns as the model takes them: numbers, and one category."""
    return rows[columns].astype({name: "category" if name == "manufacturer" else float for name in columns})


def main() -> None:
    """Train on January to September, test on October to December, and serve one flight."""
    store = FeatureStore()
    training = store.training_set(departure_delay_v1, DEPARTURES, timestamp="asked_at")
    rows, shared = training.df(), list(training.lock["features"])

    train, test = rows[rows["asked_at"] < "2013-10-01"], rows[rows["asked_at"] >= "2013-10-01"]
    print(f"{len(rows):,} departures: {len(train):,} to train on, {len(test):,} to test on")

    for name, columns in {"own features": OWN, "with those of other teams": OWN + shared}.items():
        model = HistGradientBoostingClassifier(random_state=0)
        model.fit(inputs(train, columns), train["late"])
        chances = model.predict_proba(inputs(test, columns))[:, 1]
        print(f"ROC AUC, {name}: {roc_auc_score(test['late'], chances):.3f} ({len(columns)} columns)")

    # Serving gives the values of now, from the online store, which `featdsl apply` has published. The data end in 2013, so
    # that values with a ttl have expired: weather, and the last leg.
    keys = {"tailnum": "N14228", "carrier": "UA", "origin": "EWR", "dest": "IAH"}
    served = store.get_features(departure_delay_v1, **keys, explain=True)
    print("served:", {name: value for name, value in served.items() if value is not None})
    flight = pd.DataFrame([{"hour": 17, "distance": 1400, "month": 12, **served}])
    print(f"chance to be late: {model.predict_proba(inputs(flight, columns))[0, 1]:.2f}")


if __name__ == "__main__":
    main()
