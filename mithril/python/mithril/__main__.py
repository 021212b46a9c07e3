"""`python -m mithril` is the `mithril` command."""

from mithril.cli import main

main()
