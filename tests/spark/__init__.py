"""Tables that Spark computes. Without FEATDSL_SPARK_URL the server is Sail, which starts in the test's own process."""
