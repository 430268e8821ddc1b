"""From tasks and corpora to a config and a plan."""
