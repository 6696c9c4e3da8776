"""The sections of the list of all errors, and the fixes of errors for which the code has none."""

from __future__ import annotations

STAGES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Declarations and settings",
        "`validate`, `plan`, `apply` and the import of `features/` report these.",
        ("declarations", "catalog", "definitions", "project", "sql", "trying"),
    ),
    (
        "Plans, guards and approvals",
        "`plan`, `apply`, `rollback` and `--against` report these.",
        ("plan", "pipeline", "states", "discovery/proposals", "cli/files", "cli/plans"),
    ),
    (
        "Applying and refreshing",
        "`apply`, `refresh` and `check` report these. Nothing is published then.",
        ("apply", "engines/resources", "engines/duckdb/udfs", "engines/spark"),
    ),
    ("Sources and connections", "Every command that reads a source reports these.", ("engines",)),
    ("The store", "Every command that opens the store reports these.", ("stores", "push")),
    (
        "Reading: training sets and features",
        "`FeatureStore`, `featdsl get` and `featdsl sql` report these.",
        ("query", "featurestore", "registry_calls", "notebook", "served", "integrations", "testing"),
    ),
    (
        "Serving",
        "Publishing, reading the online store and `featdsl serve` report these.",
        ("online", "publishing", "serving", "server", "project/serving_settings"),
    ),
    (
        "Moving in, and pull requests",
        "`featdsl import` and `featdsl ci` report these.",
        ("importers", "ci", "cli/importing", "cli/ci"),
    ),
    ("Finding, reporting and other commands", "", ("",)),
)
"""Title, introduction, and the packages or modules whose errors stand there; the longest match counts."""

CAUSES = {
    "Check failed": "The message has the rule, how many rows break it, and some of them.",
    "Module cannot be imported": "The message has what Python raised.",
    "Syntax error": "The message has what Python raised.",
}
"""By summary: what a message says that is not written out in the code."""

FIXES = {
    "Check cannot be computed": "Correct the rule, or the data that it meets.",
    "Check failed": "Correct the rows, or the rule.",
    "Not a merge request": "Let GitLab start the job in a pipeline of a merge request.",
    "Not a pull request": "Correct the file.",
    "Not an address of an API": "Give an address that begins with https://.",
    "Not an event of GitHub": "Let GitHub start the job on events of pull requests and pushes.",
    "Not computed on DuckDB": "Let Spark compute the group.",
    "Not computed on Spark": "Write it with proved functions, add a text for Spark, or let DuckDB compute the group.",
    "Online store cannot be used": "Publish again: featdsl publish --full",
    "Pull request is unknown": "Run the job on events of pull requests.",
    "Pulled definition is out of date": "Pull again: featdsl pull PROJECT",
    "SQL cannot be read": "Correct the SQL.",
    "Source cannot be read": "Correct the file, or the options of the source.",
    "Spark cannot be reached": "Start the server, or correct [engine] url.",
    "Spark cannot be used": "Correct what the message names: the server, its version or its setting.",
    "Data cannot be computed": "Correct the data or the SQL that the message names.",
    "Event cannot be read": "Let the CI start the job on events of pull requests and pushes.",
    "File cannot be read": "Give the user who runs featdsl permission to read it.",
    "File cannot be written": "Give the user who runs featdsl permission to write it, or name another file.",
    "Files of the CI cannot be written": "Give the user write access to the folder.",
    "Function cannot be fingerprinted": "Give the name a value before the function is declared.",
    "Invalid SQL": "Correct the SQL at the line that the message names; the dialect is DuckDB's unless it names another.",
    "Invalid declaration": "Correct the option at the line that the message names.",
    "Invalid setting": "Correct the line of featproject.toml.",
    "Invalid time unit": "Give one of ns, us, ms, s, minute, hour, day and week.",
    "Invalid type": "Give a Python type, or the name of a type of DuckDB.",
    "Lock of another store": "Use the store on which the model was trained, or train again.",
    "Log of pushed events cannot be used": "Give the user write access to the folder, or restore it from a backup.",
    "Missing package": "Install the extra that the message names: pip install 'featdsl[frames]'",
    "Missing option": "Add the option at the line that the message names.",
    "No features": "List at least one feature.",
    "Not reviews": "Correct the file.",
    "Not confirmed": "Answer y, or confirm ahead with --yes.",
    "Nothing to migrate": "Apply to the team store: featdsl apply",
    "Project cannot be written": "Give the user write access to the folder, or start the project in another one.",
    "SQL cannot be run": "Correct the query; it reads the published views.",
    "Settings cannot be read": "Correct the line of featproject.toml.",
    "Store URL is invalid": "Correct the value of the variable.",
    "Store cannot be used": "Correct what the message of the database names, then run the command again.",
    "Store cannot be written": "Give the user write access to the folder, or free space on its disk.",
    "Template cannot be rendered": "Correct the Jinja at the line that the message names.",
    "Training set cannot be computed": "Correct the spine or the feature that the message names.",
    "Unknown option": "Remove the option, or correct its name.",
    "Wrong call": "Remove the filter, or correct its name.",
    "Wrong use of a command": "Correct the command: featdsl COMMAND --help lists its options.",
    "featdsl failed": "Fix what the last line of the command says, then run the task again.",
}
"""By summary: what the reader can do where the message itself, or a message that it quotes, says what is wrong."""
